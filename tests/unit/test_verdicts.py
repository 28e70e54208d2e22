"""What is told of each field of a request: what became of it, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.errors import ProxyError
from session_proxy_middleware.models import Outbound, Request
from session_proxy_middleware.rules import cookies, forwarding
from session_proxy_middleware.rules.forwarding import HeaderPolicy
from session_proxy_middleware.rules.headers import NO_BODY
from session_proxy_middleware.rules.verdicts import Verdict, verdicts
from tests.unit.values import HOST_FIELD, KEY_FIELD, a_request, a_session, keyed

SESSION = a_session()


def crossed(request: Request, policy: HeaderPolicy) -> Outbound:
    fields = policy.rules.sift(request)
    request.id = fields.request_id() or request.id
    return forwarding.outbound(request, fields, SESSION, policy, NO_BODY)


def told(*fields: tuple[bytes, bytes], **options: Any) -> list[Verdict]:
    request = a_request(headers=keyed(*fields))
    policy = HeaderPolicy(**options)
    return verdicts(request, crossed(request, policy), policy)


OWN = (b"cookie", b"%bsid=1" % cookies.mark(SESSION))


@pytest.mark.parametrize(
    ("field", "options", "what", "why"),
    [
        ((b"accept", b"*/*"), {}, "kept", "end-to-end"),
        ((b"via", b"1.1 edge"), {}, "kept", "the proxy's own follows"),
        ((b"x-request-id", b"mine"), {}, "kept", "the client's own id"),
        ((b"x-request-id", b"not fit"), {}, "dropped", "not one id that is fit"),
        ((b"keep-alive", b"1"), {}, "dropped", "RFC 9110 §7.6.1"),
        ((b"connection", b"close"), {}, "dropped", "RFC 9110 §7.6.1"),
        ((b"upgrade", b"h2c"), {}, "dropped", "RFC 9110 §7.6.1"),
        ((b"content-length", b"0"), {}, "dropped", "RFC 9112 §6"),
        ((b"expect", b"100-continue"), {}, "dropped", "§10.1.1"),
        ((b"x-daily-room", b"1"), {}, "dropped", "only the platform"),
        (
            (b"x-mine", b"1"),
            {"session_id_header": "X-Mine"},
            "dropped",
            "only the platform",
        ),
        ((b"x_forwarded_for", b"1"), {}, "dropped", "with '-' for '_'"),
        ((b"x-forwarded-for", b"1"), {}, "dropped", "forwarded='set'"),
        ((b"forwarded", b"for=1"), {"forwarded": "append"}, "dropped", "goes on in"),
        ((b"forwarded", b"for=1"), {"forwarded": "off"}, "dropped", "forwarded='off'"),
        (OWN, {}, "dropped", "none but its own"),
        (OWN, {"cookies": "drop"}, "dropped", "cookies='drop'"),
        (OWN, {"cookies": "forward"}, "kept", "end-to-end"),
    ],
)
def test_each_field_that_came_has_its_fate_and_the_rule(
    field: tuple[bytes, bytes], options: dict[str, Any], what: str, why: str
) -> None:
    first, second, third, *added = told(field, **options)
    assert (first.what, first.field) == ("dropped", HOST_FIELD)
    assert (second.what, second.field) == ("dropped", KEY_FIELD)
    assert "credential" in second.why
    assert (third.what, third.field) == (what, field)
    assert why in third.why
    assert {each.what for each in added} == {"added"}


def test_a_field_that_connection_names_is_dropped_for_that() -> None:
    *_, named, _, _, _, _, _, _, _, _ = told(
        (b"connection", b"x-hop"), (b"x-hop", b"1")
    )
    assert (named.what, named.field) == ("dropped", (b"x-hop", b"1"))
    assert "Connection names it" in named.why


def test_what_is_added_is_told_with_its_reason() -> None:
    added = {each.field[0]: each.why for each in told(OWN) if each.what == "added"}
    assert list(added) == [
        *(b"host", b"x-daily-session-id", b"x-forwarded-prefix", b"via"),
        *(b"x-forwarded-proto", b"x-forwarded-for", b"x-forwarded-host", b"cookie"),
        b"x-request-id",
    ]
    assert "as it was registered" in added[b"host"]
    assert "session_id_header" in added[b"x-daily-session-id"]
    assert "cookies='isolate'" in added[b"cookie"]
    assert "forwarded='set'" in added[b"x-forwarded-for"]
    assert "a new id" in added[b"x-request-id"]


def test_a_verdict_does_not_print_what_the_field_says() -> None:
    assert "pk_secret" not in repr(told())


NAMES = st.sampled_from(
    [
        *("accept", "x-a", "connection", "via", "te", "cookie", "x-request-id"),
        *("x-forwarded-for", "x_forwarded_for", "expect", "authorization"),
        *("x-daily-session-id", "content-length", "forwarded"),
    ]
)
VALUES = st.sampled_from(["", "1", "x-a", "accept, via", "close", "a b"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


@given(FIELDS, st.sampled_from(["set", "append", "off"]))
def test_what_is_told_is_what_came_and_what_is_sent(
    pairs: list[tuple[str, str]], forwarded: str
) -> None:
    fields = [(name.encode(), value.encode()) for name, value in pairs]
    request = a_request(headers=fields)
    policy = HeaderPolicy(forwarded=forwarded)
    try:
        outbound = crossed(request, policy)
    except ProxyError:
        return
    told = verdicts(request, outbound, policy)
    assert [each.field for each in told if each.what != "added"] == fields
    went_on = Counter(each.field for each in told if each.what != "dropped")
    assert went_on == Counter(outbound.headers)
