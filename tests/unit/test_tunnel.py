"""The flow of a WebSocket by hand: admitted like a request, and what then differs."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from session_proxy_middleware import Limits, Principal, SessionProxy, WebSockets
from session_proxy_middleware.errors import (
    ClientDisconnected,
    ConnectFailed,
    ConnectTimeout,
    UpstreamTimeout,
    WebSocketNotInstalled,
)
from session_proxy_middleware.exchange import (
    Authenticate,
    FindKey,
    FindService,
    FindSession,
)
from session_proxy_middleware.fence import FindAgain
from session_proxy_middleware.models import Ending, Headers, Relayed, Reply, Request
from session_proxy_middleware.opening import AwaitReady
from session_proxy_middleware.rules.handshake import Accept
from session_proxy_middleware.tunnel import (
    Connect,
    Connected,
    Refused,
    Tunnel,
    TunnelStep,
    tunnel,
)
from tests.unit.test_exchange_order import World, a_key
from tests.unit.values import a_proxy, a_request, a_session, keyed

ALL = [FindKey, FindService, FindSession, Connect]
RELAYED = Relayed("completed", 10, 20, 0.0123, 0.0456, 3, 4, 1001)
COMPLETED = Ending("completed", 0, 9, None, 0.1)


def a_handshake(*fields: tuple[bytes, bytes], **options: Any) -> Request:
    """A client's, with a key."""
    request = a_request(
        method="WEBSOCKET",
        headers=keyed(
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-version", b"13"),
            *fields,
        ),
        **options,
    )
    request.websocket = True
    return request


class Sockets(World):
    """Answers the questions of a tunnel."""

    def __init__(self, connected: Any = None, **answers: Any) -> None:
        super().__init__(**answers)
        self.answers[Connect] = connected or Connected([], None)

    def until_last(self, flow: Tunnel) -> Accept | Reply:
        step: TunnelStep = next(flow)
        while not isinstance(step, Accept | Reply):
            self.asked.append(type(step))
            self.steps.append(step)  # type: ignore[arg-type]
            answer = self.answers[type(step)]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, BaseException):
                step = flow.throw(answer)
            else:
                step = flow.send(answer)
        return step

    def open(
        self, request: Request | None = None, proxy: SessionProxy | None = None
    ) -> Accept | Reply:
        flow = tunnel(request or a_handshake(), proxy or a_proxy())
        last = self.until_last(flow)
        if isinstance(last, Accept):
            last.ending = RELAYED
        else:
            last.ending = COMPLETED
        assert next(flow, None) is None
        return last

    @property
    def connect(self) -> Connect:
        """What was asked last of the session."""
        step: Any = self.steps[-1]
        assert isinstance(step, Connect)
        return step


def slug(last: Accept | Reply) -> str:
    assert isinstance(last, Reply), last
    return dict(last.headers).get(b"x-session-proxy-error", b"").decode()


def test_a_websocket_is_asked_through_like_a_request() -> None:
    world = Sockets(Connected([(b"x-a", b"1")], "chat"))
    last = world.open()
    assert world.asked == ALL
    assert isinstance(last, Accept)
    assert last.subprotocol == "chat"
    assert last.headers[0] == (b"x-a", b"1")


REFUSALS: list[tuple[str, dict[str, Any], list[type]]] = [
    ("unauthenticated", {"FindKey": None}, ALL[:1]),
    ("service_not_found", {"FindService": None}, ALL[:2]),
    ("session_not_found", {"FindSession": None}, ALL[:3]),
    ("forbidden", {"FindKey": a_key(methods={"GET"})}, ALL[:3]),
    ("forbidden", {"FindKey": a_key(paths=("/other",))}, ALL[:3]),
    ("upstream_timeout", {"connected": UpstreamTimeout("x")}, ALL),
    ("internal_error", {"connected": ZeroDivisionError("x")}, ALL),
    ("upstream_protocol", {"connected": Refused(200, [], b"")}, ALL),
    ("websocket_unsupported", {"connected": WebSocketNotInstalled("x")}, ALL),
]


@pytest.mark.parametrize(("expected", "answers", "asked"), REFUSALS)
def test_what_refuses_a_websocket(
    expected: str, answers: dict[str, Any], asked: list[type]
) -> None:
    world = Sockets(**answers)
    assert slug(world.open()) == expected
    assert world.asked == asked


def test_a_key_without_restrictions_or_one_that_names_it_may() -> None:
    for methods in (None, {"WEBSOCKET"}, {"GET", "WEBSOCKET"}):
        last = Sockets(FindKey=a_key(methods=methods)).open()
        assert isinstance(last, Accept)


def test_a_malformed_offer_is_refused_before_anything_is_asked() -> None:
    world = Sockets()
    request = a_handshake((b"sec-websocket-protocol", b"a b"))
    assert slug(world.open(request)) == "malformed_headers"
    assert world.asked == []


def test_a_request_over_http_has_no_such_method() -> None:
    request = a_handshake()
    request.websocket = False
    assert slug(World().run(request)) == "method_not_allowed"


def test_what_the_session_is_sent() -> None:
    world = Sockets()
    request = a_handshake(
        (b"sec-websocket-protocol", b"chat, v2"),
        (b"x-custom", b"kept"),
        (b"content-length", b"5"),
        query=b"a=1",
    )
    world.open(request)
    sent = world.connect.outbound
    assert (sent.method, sent.target) == (b"GET", b"/chat?a=1")
    assert not sent.has_body
    assert sent.length is None
    fields = dict(sent.headers)
    assert fields[b"sec-websocket-protocol"] == b"chat, v2"
    assert fields[b"x-custom"] == b"kept"
    for name in (b"upgrade", b"connection", b"sec-websocket-key", b"content-length"):
        assert name not in fields
    assert world.connect.offered.subprotocols == [b"chat", b"v2"]


def test_the_sessions_acceptance_crosses_as_a_response_does() -> None:
    headers: Headers = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade, x-hop"),
        (b"x-hop", b"1"),
        (b"sec-websocket-accept", b"x"),
        (b"sec-websocket-protocol", b"chat"),
        (b"sec-websocket-extensions", b"x"),
        (b"set-cookie", b"sid=1; Domain=portal.test"),
        (b"x-session-proxy-error", b"forged"),
        (b"server", b"bot"),
        (b"x-custom", b"kept"),
    ]
    last = Sockets(Connected(headers, "chat")).open(
        a_handshake((b"x-request-id", b"r-1"))
    )
    names = [name for name, _ in last.headers]
    assert names == [b"set-cookie", b"x-custom", b"x-request-id"]
    assert last.headers[0][1].startswith(b"sp_")
    assert last.headers[2][1] == b"r-1"


def test_a_refusal_of_the_session_is_passed_on() -> None:
    answer = Refused(403, [(b"content-type", b"text/html")], b"<b>no")
    last = Sockets(answer).open()
    assert isinstance(last, Reply)
    assert (last.status, last.body) == (403, b"<b>no")
    assert slug(last) == ""
    assert b"content-security-policy" in dict(last.headers)


@pytest.mark.parametrize("failure", [ConnectFailed("x"), ConnectTimeout("x")])
def test_a_session_that_has_moved_is_tried_where_it_is(failure: Exception) -> None:
    moved = a_session("http://10.0.0.9:9")
    world = Sockets([failure, Connected([], None)], FindAgain=moved)
    assert isinstance(world.open(), Accept)
    assert world.asked == [*ALL, FindAgain, Connect]
    assert world.connect.outbound.session is moved
    assert world.connect.outbound.method == b"GET"
    assert dict(world.connect.outbound.headers)[b"host"] == b"10.0.0.9:9"


def test_one_that_has_not_moved_is_not_tried_again() -> None:
    session = a_session()
    world = Sockets(ConnectFailed("x"), FindSession=session, FindAgain=session)
    assert slug(world.open()) == "upstream_unreachable"
    assert world.asked == [*ALL, FindAgain]


def test_a_session_that_is_starting_is_waited_for() -> None:
    from dataclasses import replace

    starting = replace(a_session(), state="starting")
    world = Sockets(FindSession=starting)
    assert isinstance(world.open(proxy=a_proxy(ready_wait=1.0)), Accept)
    assert world.asked == [*ALL[:3], AwaitReady, Connect]


def test_a_place_is_held_until_the_socket_has_closed() -> None:
    proxy = a_proxy(limits=Limits(per_session=1))
    flow = tunnel(a_handshake(), proxy)
    session = a_session()
    last = Sockets(FindSession=session).until_last(flow)
    assert isinstance(last, Accept)
    assert proxy.limiter.in_flight == 1
    assert slug(Sockets(FindSession=session).open(proxy=proxy)) == "too_many_requests"
    last.ending = RELAYED
    assert next(flow, None) is None
    assert proxy.limiter.in_flight == 0


def by_cookie(request: Request) -> Principal:
    raise NotImplementedError  # The test answers.


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (b"https://evil.example", "origin_refused"),
        (b"https://friend.example", ""),
        (b"https://public.example", ""),
    ],
)
def test_a_hook_may_go_by_cookies_so_origins_are_checked(
    origin: bytes, expected: str
) -> None:
    proxy = a_proxy(
        authenticate=by_cookie,
        websockets=WebSockets(allowed_origins=["https://friend.example"]),
    )
    request = a_handshake((b"origin", origin))
    request.headers = [each for each in request.headers if each[0] != b"authorization"]
    world = Sockets()
    last = world.open(request, proxy)
    assert (slug(last) if isinstance(last, Reply) else "") == expected
    asked = [Authenticate, FindService, FindSession]
    assert world.asked == (asked if expected else [*asked, Connect])


def test_a_key_of_the_store_decides_alone() -> None:
    last = Sockets().open(a_handshake((b"origin", b"https://anywhere.example")))
    assert isinstance(last, Accept)


def test_a_hook_sees_a_key_among_the_subprotocols_as_authorization() -> None:
    request = a_handshake((b"sec-websocket-protocol", b"session-proxy.bearer.own"))
    request.headers = [each for each in request.headers if each[0] != b"authorization"]
    world = Sockets()
    world.open(request, a_proxy(authenticate=by_cookie))
    step: Any = world.steps[0]
    assert step.request.header("authorization") == "Bearer own"
    assert step.request.method == "WEBSOCKET"


def only(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    [record] = [each for each in caplog.records if each.name == "session_proxy.access"]
    return vars(record) | {"line": record.getMessage()}


def test_the_record_of_a_socket(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "session_proxy"):
        Sockets().open()
    found = only(caplog)
    assert found["line"].startswith("WEBSOCKET /bot/sessions/")
    assert found["line"].endswith("/chat 101 session completed")
    assert found["messages_received"] == 3
    assert found["messages_sent"] == 4
    assert (found["bytes_received"], found["bytes_sent"]) == (10, 20)
    assert found["close_code"] == 1001
    assert (found["headers_ms"], found["total_ms"]) == (12.3, 45.6)


def test_a_client_that_left_before_it_was_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = ClientDisconnected("x")
    gone.ending = Ending("client_disconnected", 0, 0, None, 0.1)
    flow = tunnel(a_handshake(), a_proxy())
    with (
        caplog.at_level(logging.INFO, "session_proxy"),
        pytest.raises(StopIteration),
    ):
        Sockets(gone).until_last(flow)
    found = only(caplog)
    assert (found["status"], found["end_reason"]) == (499, "client_disconnected")


def test_a_socket_that_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    flow = tunnel(a_handshake(), a_proxy())
    Sockets().until_last(flow)
    with caplog.at_level(logging.INFO, "session_proxy"):
        flow.close()
    assert only(caplog)["end_reason"] == "cancelled"


def test_what_is_not_installed_is_not_told_for_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Sockets(WebSocketNotInstalled("x")).open()
    assert [each for each in caplog.records if each.name == "session_proxy"] == []
