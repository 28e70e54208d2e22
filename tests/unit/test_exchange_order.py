"""The flow by hand: what is asked, in which order, and what refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from session_proxy_middleware import Limits, MemoryStore, SessionProxy
from session_proxy_middleware.errors import (
    ClientDisconnected,
    ConnectFailed,
    ConnectTimeout,
    Forbidden,
    StoreUnavailable,
    Unauthenticated,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from session_proxy_middleware.exchange import (
    Authenticate,
    FindKey,
    FindService,
    FindSession,
    Flow,
    RoundTrip,
    Step,
    exchange,
)
from session_proxy_middleware.fence import Disown, FindAgain
from session_proxy_middleware.models import (
    Ending,
    Headers,
    Key,
    Principal,
    Reply,
    Request,
    Service,
)
from session_proxy_middleware.opening import AwaitReady
from session_proxy_middleware.rules.credential import digest
from tests.unit.values import (
    HOST_FIELD,
    ID,
    KEY_FIELD,
    SECRET,
    a_proxy,
    a_request,
    a_session,
    keyed,
)

ENDING = Ending("completed", 1, 2, 0.1, 0.2)


class Head:
    """A response whose head is there."""

    def __init__(self, status: int = 200, headers: Headers | None = None) -> None:
        self.status = status
        self.headers = headers or []


def a_key(**principal: Any) -> Key:
    return Key(
        id="k1",
        digest=digest(SECRET.encode()),
        principal=Principal(id="k1", **principal),
    )


class World:
    """Answers a flow's questions and remembers them."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[type, Any] = {
            Authenticate: Principal(id="who"),
            FindKey: a_key(),
            FindService: Service(name="bot"),
            FindSession: a_session(),
            FindAgain: a_session(),
            AwaitReady: a_session(),
            RoundTrip: Head(),
            Disown: None,
        }
        self.answers |= {globals()[name]: value for name, value in answers.items()}
        self.asked: list[type] = []
        self.steps: list[Step] = []

    def run(self, request: Request, proxy: SessionProxy | None = None) -> Reply:
        flow = exchange(request, proxy or a_proxy())
        reply = self.until_reply(flow)
        reply.ending = ENDING
        assert next(flow, None) is None
        return reply

    def until_reply(self, flow: Flow) -> Reply:
        step = next(flow)
        while not isinstance(step, Reply):
            self.asked.append(type(step))
            self.steps.append(step)
            self.note(step)
            answer = self.answers[type(step)]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, BaseException):
                step = flow.throw(answer)
            else:
                step = flow.send(answer)
        return step

    def note(self, step: Step) -> None:
        """Before it is answered."""


ALL = [FindKey, FindService, FindSession, RoundTrip]


def slug(reply: Reply) -> str:
    return dict(reply.headers).get(b"x-session-proxy-error", b"").decode()


def test_a_request_is_asked_through_in_the_order_of_the_contract() -> None:
    world = World()
    reply = world.run(a_request())
    assert world.asked == ALL
    assert (reply.status, reply.body, slug(reply)) == (200, None, "")
    key, service, session, _ = world.steps
    assert key == FindKey(digest(SECRET.encode()))
    assert service == FindService("bot")
    assert session == FindSession("bot", ID)


def test_an_authenticator_takes_the_place_of_the_keys() -> None:
    world = World()
    request = a_request(headers=[HOST_FIELD])
    world.run(request, a_proxy(authenticate=lambda request: None))
    assert world.asked == [Authenticate, *ALL[1:]]
    assert world.steps[0] == Authenticate(request)


@pytest.mark.parametrize("name", ["service", "session_id", "target", "public"])
def test_a_hook_cannot_turn_a_request_elsewhere(name: str) -> None:
    """Envoy's note on `ext_authz` and cleared routes: what was decided for one route
    was done on another."""
    flow = exchange(a_request(), a_proxy(authenticate=lambda request: None))
    step = next(flow)
    assert isinstance(step, Authenticate)
    with pytest.raises(AttributeError):
        setattr(step.request.route, name, "other")
    flow.close()


def test_without_keys_and_without_a_hook_nobody_is_let_in() -> None:
    """CVE-2023-48022 (Ray): open unless somebody closed it."""
    reply = World().run(a_request(), SessionProxy(MemoryStore()))
    assert (reply.status, slug(reply)) == (401, "unauthenticated")


# Each breaks one rule more than the one before it, in the order of the contract: the
# first broken rule decides. What is asked up to then stands beside it.
LADDER: list[tuple[str, dict[str, Any], list[type]]] = [
    ("too_many_requests", {}, ALL[:3]),
    ("body_too_large", {"fields": [(b"content-length", b"11")]}, ALL[:3]),
    ("websocket_unsupported", {"fields": [(b"upgrade", b"WebSocket")]}, ALL[:3]),
    ("reserved_path", {"target": b"/bot"}, ALL[:3]),
    ("forbidden", {"principal": {"paths": ("/chat",)}}, ALL[:3]),
    ("malformed_path", {"target": b"/bot/.."}, ALL[:3]),
    ("session_not_found", {"FindSession": None}, ALL[:3]),
    ("service_not_ready", {"FindService": Service(name="bot", ready=False)}, ALL[:2]),
    ("service_not_found", {"FindService": None}, ALL[:2]),
    ("service_not_found", {"principal": {"services": ("other",)}}, ALL[:1]),
    ("unauthenticated", {"FindKey": None}, ALL[:1]),
    ("unauthenticated", {"fields": [KEY_FIELD]}, []),
    ("malformed_headers", {"fields": [HOST_FIELD]}, []),
    ("headers_too_large", {"fields": [(b"x", b"y")] * 30}, []),
    ("method_not_allowed", {"method": "TRACE"}, []),
]


@pytest.mark.parametrize("rung", range(len(LADDER)))
def test_the_first_broken_rule_decides(rung: int) -> None:
    proxy = a_proxy(limits=Limits(per_session=1, body=10, header_fields=20))
    proxy.limiter.enter(a_session(), Principal(id="other"))
    fields: Headers = []
    target, method = b"/chat", "GET"
    principal: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for _, change, _ in LADDER[: rung + 1]:
        change = dict(change)
        fields += change.pop("fields", [])
        target = change.pop("target", target)
        method = change.pop("method", method)
        principal |= change.pop("principal", {})
        answers |= change
    answers.setdefault("FindKey", a_key(**principal))
    world = World(**answers)
    reply = world.run(a_request(target, method=method, headers=keyed(*fields)), proxy)
    expected, _, asked = LADDER[rung]
    assert (slug(reply), world.asked) == (expected, asked)


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic eDp5")]])
def test_without_a_credential_nothing_is_asked(headers: Headers) -> None:
    world = World()
    reply = world.run(a_request(headers=headers))
    assert (reply.status, world.asked) == (401, [])
    assert dict(reply.headers)[b"www-authenticate"] == b'Bearer realm="session-proxy"'


@pytest.mark.parametrize(
    "headers",
    [[KEY_FIELD, KEY_FIELD], [(b"authorization", b"Bearer a, Bearer b")]],
)
def test_two_credentials_are_an_invalid_one_and_nothing_is_asked(
    headers: Headers,
) -> None:
    world = World()
    reply = world.run(a_request(headers=headers))
    assert (reply.status, world.asked) == (401, [])
    assert b'error="invalid_token"' in dict(reply.headers)[b"www-authenticate"]


def test_a_malformed_id_never_reaches_the_registry() -> None:
    world = World()
    reply = world.run(a_request(session_id=None))
    assert slug(reply) == "session_not_found"
    assert FindSession not in world.asked


def same_bytes(one: Reply, other: Reply) -> bool:
    return (one.status, one.headers, one.body) == (
        other.status,
        other.headers,
        other.body,
    )


def with_id() -> Headers:
    """So that replies can be compared: the request's id is in them."""
    return keyed((b"x-request-id", b"fixed"))


def test_a_service_outside_the_scope_looks_exactly_like_an_unknown_one() -> None:
    unknown = World(FindService=None).run(a_request(headers=with_id()))
    key = a_key(services=("other",))
    foreign = World(FindKey=key).run(a_request(headers=with_id()))
    assert same_bytes(unknown, foreign)
    assert unknown.status == 404


def test_malformed_unknown_and_ended_sessions_look_exactly_alike() -> None:
    malformed = World().run(a_request(session_id=None, headers=with_id()))
    unknown = World(FindSession=None).run(a_request(headers=with_id()))
    ended = World(FindAgain=None, RoundTrip=ConnectFailed("x"))
    assert same_bytes(malformed, unknown)
    assert same_bytes(malformed, ended.run(a_request(headers=with_id())))


@pytest.mark.parametrize("failure", [ConnectFailed("x"), ConnectTimeout("x")])
def test_a_session_that_has_moved_is_tried_once_more(failure: Exception) -> None:
    first, second = a_session(), a_session("http://10.0.3.8:8080")
    world = World(FindSession=first, FindAgain=second, RoundTrip=[failure, Head(201)])
    assert world.run(a_request()).status == 201
    assert world.asked == [*ALL, FindAgain, RoundTrip]
    trip = world.steps[-1]
    assert isinstance(trip, RoundTrip)
    assert trip.outbound.session is second
    assert trip.outbound.headers[0] == (b"host", b"10.0.3.8:8080")


def test_a_session_that_has_moved_is_not_tried_a_third_time() -> None:
    failures = [ConnectFailed("1"), ConnectFailed("2")]
    world = World(RoundTrip=failures)
    assert slug(world.run(a_request())) == "upstream_unreachable"
    assert world.asked == [*ALL, FindAgain, RoundTrip]


@pytest.mark.parametrize(
    ("failure", "status"), [(ConnectFailed("x"), 502), (ConnectTimeout("x"), 504)]
)
def test_a_session_that_has_not_moved_is_not_tried_again(
    failure: Exception, status: int
) -> None:
    session = a_session()
    world = World(FindSession=session, FindAgain=session, RoundTrip=failure)
    assert world.run(a_request()).status == status
    assert world.asked == [*ALL, FindAgain]


@pytest.mark.parametrize("failure", [UpstreamUnreachable("x"), UpstreamTimeout("x")])
def test_what_may_have_been_delivered_is_never_delivered_again(
    failure: Exception,
) -> None:
    world = World(RoundTrip=failure)
    world.run(a_request())
    assert world.asked == ALL


@pytest.mark.parametrize("failure", [OSError("db"), StoreUnavailable("db")])
def test_a_registry_that_fails_meanwhile_leaves_the_first_failure(
    failure: Exception,
) -> None:
    world = World(FindAgain=failure, RoundTrip=ConnectFailed("x"))
    assert slug(world.run(a_request())) == "upstream_unreachable"


@pytest.mark.parametrize("step", ["FindKey", "FindService", "FindSession"])
def test_a_store_that_fails_is_unavailable(step: str) -> None:
    reply = World(**{step: ConnectionRefusedError("db at 10.9.9.9")}).run(a_request())
    assert (reply.status, slug(reply)) == (503, "store_unavailable")
    assert reply.body is not None
    assert b"10.9.9.9" not in reply.body


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Unauthenticated(), (401, "unauthenticated")),
        (Forbidden(), (403, "forbidden")),
        (OSError("ldap"), (503, "store_unavailable")),
        (RuntimeError("secret detail"), (500, "internal_error")),
    ],
)
def test_what_an_authenticator_raises_decides(
    failure: Exception, expected: tuple[int, str]
) -> None:
    proxy = a_proxy(authenticate=lambda request: None)
    reply = World(Authenticate=failure).run(a_request(), proxy)
    assert (reply.status, slug(reply)) == expected
    assert reply.body is not None
    assert b"secret" not in reply.body


def test_a_client_that_leaves_while_it_is_asked_gets_no_reply() -> None:
    flow = exchange(a_request(), a_proxy())
    next(flow)
    with pytest.raises(StopIteration):
        flow.throw(ClientDisconnected("gone"))


def test_a_head_request_that_is_refused_gets_the_fields_without_the_body() -> None:
    get, head = (
        World(FindSession=None).run(a_request(method=method, headers=with_id()))
        for method in ("GET", "HEAD")
    )
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


def test_strict_answers_500_for_what_the_published_contract_does_not_know() -> None:
    world = World(RoundTrip=UpstreamTimeout("x"))
    reply = world.run(a_request(), a_proxy(contract="strict"))
    assert (reply.status, slug(reply)) == (500, "upstream_timeout")


def test_a_response_that_is_not_final_is_a_protocol_error() -> None:
    reply = World(RoundTrip=Head(101)).run(a_request())
    assert slug(reply) == "upstream_protocol"


def test_a_store_in_memory_is_not_asked_in_steps() -> None:
    store = MemoryStore()
    store.backend.put_key(a_key()).run()
    session = store.sessions.register("bot", ID, "http://10.0.3.7:8080")
    flow = exchange(a_request(), SessionProxy(store))
    step = next(flow)
    flow.close()
    assert isinstance(step, RoundTrip)
    assert step.outbound.session is session
