"""`rules.handshake`: what opens a WebSocket, and what is said when it closes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.errors import (
    MalformedHeaders,
    OriginRefused,
    UpstreamProtocolError,
)
from session_proxy_middleware.models import Headers, Request
from session_proxy_middleware.rules import handshake
from session_proxy_middleware.rules.headers import RequestFields

from .values import a_request

KEY = b"session-proxy.bearer.pk_a"


def request(*headers: tuple[bytes, bytes]) -> Request:
    """A handshake with these fields."""
    made = a_request()
    made.headers = list(headers)
    return made


def offered(*values: bytes) -> handshake.Offer:
    """Of a client with these fields of subprotocols."""
    fields = [(b"sec-websocket-protocol", value) for value in values]
    return handshake.offer(request(*fields))


def test_what_belongs_to_the_clients_leg_does_not_cross() -> None:
    kept: Headers = [(b"host", b"a"), (b"x-sec-websocket-key", b"kept")]
    own: Headers = [
        (b"sec-websocket-key", b"k"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
        (b"Sec-WebSocket-Key", b"k"),
        (b"sec_websocket_accept", b"forged"),
        (b"sec-websocket-anything", b"new"),
    ]
    assert handshake.offer(request(*own[:3], *kept, *own[3:])).headers == kept


def test_subprotocols_are_read_as_one_list() -> None:
    found = offered(b"chat,superchat", b" ,\tv1 ", b"")
    assert found.subprotocols == [b"chat", b"superchat", b"v1"]
    assert found.headers == [(b"sec-websocket-protocol", b"chat, superchat, v1")]
    assert found.own is None
    assert not found.keyed


def test_a_key_becomes_the_authorization_and_is_not_offered() -> None:
    found = offered(b"chat, " + KEY)
    assert found.subprotocols == [b"chat"]
    assert found.headers == [
        (b"authorization", b"Bearer pk_a"),
        (b"sec-websocket-protocol", b"chat"),
    ]
    assert found.keyed
    # The client has a choice that the session can make.
    assert found.own is None
    assert b"pk_a" not in repr(found).encode()


def test_two_keys_are_two_authorizations() -> None:
    found = offered(KEY, KEY + b"b")
    assert [value for _, value in found.headers] == [b"Bearer pk_a", b"Bearer pk_ab"]


@pytest.mark.parametrize(
    ("values", "own"),
    [((KEY,), KEY), ((b"session-proxy, " + KEY,), b"session-proxy"), ((), None)],
)
def test_a_client_that_offers_nothing_else_is_told_one_of_ours(
    values: tuple[bytes, ...], own: bytes | None
) -> None:
    assert offered(*values).own == own


@pytest.mark.parametrize("value", [b"a b", b"a/b", b"\xff", b"a;q=1", b'"chat"'])
def test_a_subprotocol_is_a_token(value: bytes) -> None:
    with pytest.raises(MalformedHeaders):
        offered(value)


@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from([b"session-proxy", b"session-proxy.bearer.pk_a_b", b"chat"]),
        max_size=5,
    )
)
def test_no_key_stays_among_the_subprotocols(values: list[bytes]) -> None:
    try:
        found = offered(*values)
    except MalformedHeaders:
        return
    joined = [v for n, v in found.headers if n == b"sec-websocket-protocol"]
    assert len(joined) <= 1
    assert not any(
        each == b"session-proxy" or each.startswith(b"session-proxy.bearer.")
        for each in found.subprotocols
    )


def refused(
    origins: list[bytes],
    *,
    host: bytes | None = b"portal.test",
    authorization: bytes | None = None,
    keyed: bool = False,
    allowed: frozenset[bytes] = frozenset(),
) -> bool:
    """Whether a page of that origin is."""
    fields = RequestFields()
    fields.host = host
    if authorization is not None:
        fields.authorization = (authorization,)
    asked = request(*[(b"origin", each) for each in origins])
    offer = handshake.Offer([], [], None, keyed)
    try:
        handshake.check_origin(asked, fields, offer, allowed)
    except OriginRefused:
        return True
    return False


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"https://portal.test", b"portal.test"),
        (b"http://portal.test", b"Portal.Test"),
        (b"https://portal.test", b"portal.test:443"),
        (b"http://portal.test", b"portal.test:80"),
        (b"http://portal.test:8080", b"portal.test:8080"),
        (b"http://[::1]:8080", b"[::1]:8080"),
    ],
)
def test_the_portals_own_pages_may(origin: bytes, host: bytes) -> None:
    assert not refused([origin], host=host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"https://evil.example", b"portal.test"),
        (b"https://portal.test.evil.example", b"portal.test"),
        (b"https://evil.example/portal.test", b"portal.test"),
        (b"https://a@portal.test", b"portal.test"),
        (b"https://portal.test:444", b"portal.test"),
        (b"https://portal.test:80", b"portal.test"),
        (b"http://portal.test:443", b"portal.test"),
        (b"null", b"null"),
        (b"", b""),
        (b"file://portal.test", b"portal.test"),
        (b"https://portal.test", None),
    ],
)
def test_others_may_not(origin: bytes, host: bytes | None) -> None:
    assert refused([origin], host=host)


def test_two_origins_are_none() -> None:
    assert refused([b"https://portal.test", b"https://portal.test"])
    assert refused(
        [b"https://portal.test"] * 2, allowed=frozenset([b"https://portal.test"])
    )


def test_those_that_are_listed_may() -> None:
    listed = frozenset([b"https://friend.example"])
    assert not refused([b"https://friend.example"], allowed=listed)
    assert refused([b"https://friend.example:8443"], allowed=listed)


def test_what_is_no_browser_may() -> None:
    assert not refused([])


def test_a_token_that_no_page_can_send_decides_alone() -> None:
    evil = [b"https://evil.example"]
    assert not refused(evil, authorization=b"Bearer x")
    assert not refused(evil, authorization=b"bearer x")
    # One among the subprotocols any page can send; what a browser has remembered
    # (RFC 7617) it sends by itself.
    assert refused(evil, authorization=b"Bearer x", keyed=True)
    assert refused(evil, authorization=b"Basic YTpi")
    assert refused(evil, authorization=b"Bearerx")


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_success_is_no_answer_to_a_handshake(status: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        handshake.refusal_status(status)


@pytest.mark.parametrize("status", [300, 302, 401, 426, 503])
def test_anything_else_is_a_refusal(status: int) -> None:
    assert handshake.refusal_status(status) == status


@given(st.integers(0, 70_000))
def test_only_codes_that_may_be_sent_are_sent(code: int) -> None:
    """RFC 6455 §7.4.1: 1005, 1006 and 1015 stand in no frame; nor does what nobody
    has defined (§7.4.2)."""
    valid = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert handshake.to_client(code) in valid
    assert handshake.to_session(code) in valid | {None}
    if code in valid:
        assert handshake.to_client(code) == handshake.to_session(code) == code


def test_what_stands_for_no_frame_is_mapped() -> None:
    assert handshake.to_client(1005) == 1000
    assert handshake.to_client(1006) == 1014
    assert handshake.to_client(1015) == 1014
    assert handshake.to_session(1005) is None
    assert handshake.to_session(1006) == 1011
    assert handshake.to_session(1015) == 1011


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"code": 1000, "reason": "bye"}, (1000, "bye")),
        ({"code": 4001}, (4001, "")),
        ({"code": 1000, "reason": None}, (1000, "")),
        ({"code": 1005, "reason": ""}, (1005, "")),
        ({"code": 1005}, (1006, "")),  # uvicorn, granian: a connection that broke.
        ({"code": 1006}, (1006, "")),
        ({"code": None}, (1005, "")),  # daphne.
        ({}, (1006, "")),
    ],
)
def test_how_a_client_left(message: dict[str, object], found: tuple[int, str]) -> None:
    assert handshake.departed(message) == found


@given(st.text(max_size=200))
def test_a_reason_fits_in_a_frame(reason: str) -> None:
    """RFC 6455 §5.5: 125 bytes, two of them the code."""
    trimmed = handshake.trimmed(reason)
    assert len(trimmed.encode()) <= 123
    if len(reason.encode("utf-8", "replace")) <= 123:
        assert trimmed == reason.encode("utf-8", "replace").decode()
    else:
        assert reason.startswith(trimmed)
