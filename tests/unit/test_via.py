"""`Via`: extended in order, and a loop seen at the third pass (RFC 9110 §7.6.3)."""

from __future__ import annotations

import pytest

from session_proxy_middleware.errors import LoopDetected
from session_proxy_middleware.rules import via
from tests.unit.crossing import refused, sent, sent_headers, values
from tests.unit.values import a_proxy, a_request, keyed

OURS = b"1.1 session-proxy"


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.1", b"1.1"), ("1.0", b"1.0"), ("2", b"2"), ("3", b"3"), ("0.9", b"1.1")],
)
def test_the_version_is_that_of_the_request(version: str, said: bytes) -> None:
    outbound = sent(a_request(http_version=version))
    assert values(outbound.headers, b"via") == [said + b" session-proxy"]


def test_what_came_before_stands_before() -> None:
    headers = sent_headers((b"via", b"1.0 fred, 2 b:80 (c)"), (b"via", b"1.1 edge"))
    assert values(headers, b"via") == [b"1.0 fred, 2 b:80 (c)", b"1.1 edge", OURS]


def test_what_belongs_to_the_hop_before_is_dropped() -> None:
    headers = sent_headers((b"via", b"1.1 edge"), (b"connection", b"Via"))
    assert values(headers, b"via") == [OURS]


@pytest.mark.parametrize(
    "received",
    [
        [OURS, OURS],
        [OURS + b", " + OURS],
        [b"1.1 edge, " + OURS, b"HTTP/1.1 session-proxy:8080 (x), 1.1 other"],
        [b"1.1\tsession-proxy , 2 Session-Proxy"],
        [b"1.1 x (open, " + OURS + b", " + OURS],
        [OURS] * 3,
    ],
)
def test_the_third_pass_is_a_loop(received: list[bytes]) -> None:
    with pytest.raises(LoopDetected):
        via.check(received)


@pytest.mark.parametrize(
    "received",
    [
        [],
        [b""],
        [b"session-proxy, session-proxy"],
        [OURS, b"1.1 edge"],
        [OURS + b"-2", OURS + b".example", b"1.1 my-session-proxy", b"1.1 session"],
        [b"1.1 edge (1.1 session-proxy)", OURS],
    ],
)
def test_others_of_a_like_name_are_none(received: list[bytes]) -> None:
    via.check(received)


def test_a_loop_is_told_once_the_caller_is_known() -> None:
    looped = [(b"via", OURS), (b"via", OURS)]
    assert refused(a_request(headers=keyed(*looped))) == (508, "loop_detected")
    assert refused(a_request(headers=looped)) == (401, "unauthenticated")
    strict = a_proxy(contract="strict")
    assert refused(a_request(headers=keyed(*looped)), strict)[0] == 500
