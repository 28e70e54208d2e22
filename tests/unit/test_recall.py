"""A request that is let through like the one before is treated as if it were the first:
whatever else comes in between, and whatever changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.errors import StoreUnavailable
from session_proxy_middleware.exchange import RoundTrip, exchange
from session_proxy_middleware.models import Headers, Key, Reply, Request, Session
from session_proxy_middleware.passage import Passage, recall
from tests.unit.values import ID

OTHER = "57af5437-97a2-4646-9873-a5c5935bd706"
SECRETS = ("pk_first_000000000000000000000000", "pk_second_00000000000000000000000")
NOW = 1_800_000_000.0


class Clock:
    """What the store takes for the time."""

    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now


class Head:
    status = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-length", b"5"),)


def a_store() -> MemoryStore:
    store = MemoryStore()
    store.sessions.register("bot", ID, "http://10.0.3.7:8080")
    store.sessions.register("bot", OTHER, "http://10.0.3.8:8080/base")
    store.keys.create(secret=SECRETS[0], services=["bot"])
    store.keys.create(secret=SECRETS[1], methods=["GET"], expires_at=NOW + 500)
    return store


def a_request(proxy: SessionProxy, **changed: Any) -> Request:
    asked: dict[str, Any] = {
        "method": "GET",
        "path": f"/bot/sessions/{ID}/chat",
        "query": None,
        "key": SECRETS[0],
        "more": (),
        "client": "192.0.2.7",
        "scheme": "https",
        "version": "1.1",
        **changed,
    }
    route = proxy.match(asked["path"], asked["path"].encode(), "")
    assert route is not None
    headers: Headers = [(b"host", b"public.example"), *asked["more"]]
    if asked["key"] is not None:
        headers.append((b"authorization", b"Bearer " + asked["key"].encode()))
    return Request(
        asked["method"],
        route,
        asked["query"],
        headers,
        asked["client"],
        asked["scheme"],
        asked["version"],
        {},
    )


def outcome(proxy: SessionProxy, **changed: Any) -> list[object]:
    """What the session gets and what the client gets, but for ids of our own."""
    request = a_request(proxy, **changed)
    found: list[object] = []
    flow = exchange(request, proxy)
    step = next(flow)
    while not isinstance(step, Reply):
        assert isinstance(step, RoundTrip)
        sent = step.outbound
        found += [sent.session, sent.method, sent.target, sent.has_body, sent.length]
        found += [step.meter is not None, _plain(sent.headers, request)]
        step = flow.send(Head())
    found += [step.status, _plain(step.headers, request)]
    if step.body is not None:
        found.append(step.body.replace(request.id, b"ID"))
    assert next(flow, None) is None
    assert proxy.limiter.in_flight == 0
    return found


def _plain(headers: Headers, request: Request) -> Headers:
    own = dict(request.headers).get(b"x-request-id") != request.id
    return [(n, b"ID" if own and v == request.id else v) for n, v in headers]


def a_key_id(store: MemoryStore, number: int) -> str:
    keys = sorted(store.keys.list(), key=lambda key: key.expires_at or 0)
    return keys[number].id if keys else "gone"


CHANGES: list[Callable[[MemoryStore, Clock], object]] = [
    lambda store, clock: store.sessions.register("bot", ID, "http://10.0.3.9:8080"),
    lambda store, clock: store.sessions.end("bot", ID),
    lambda store, clock: store.sessions.end("bot", OTHER),
    lambda store, clock: store.sessions.touch("bot", ID),
    lambda store, clock: store.sessions.drain("bot", ID),
    lambda store, clock: store.services.put("bot", ready=False),
    lambda store, clock: store.services.put("bot", ready=True),
    lambda store, clock: store.services.remove("bot"),
    lambda store, clock: store.keys.revoke(a_key_id(store, 0)),
    lambda store, clock: store.keys.rotate(a_key_id(store, -1), overlap=50),
    lambda store, clock: setattr(clock, "now", clock.now + 60),
    lambda store, clock: setattr(clock, "now", clock.now + 4000),
]
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["GET", "POST", "HEAD", "TRACE", "OPTIONS"]),
        "path": st.sampled_from(
            [
                f"/bot/sessions/{ID}/chat",
                f"/bot/sessions/{OTHER}/chat",
                f"/bot/sessions/{ID}/bot",
                f"/other/sessions/{ID}/chat",
            ]
        ),
        "query": st.sampled_from([None, b"a=1", b"b=%2F", b"a#b"]),
        "key": st.sampled_from([*SECRETS, "pk_unknown", None]),
        "more": st.sampled_from(
            [
                (),
                ((b"x-request-id", b"theirs-1"),),
                ((b"x-request-id", b"\xff"),),
                ((b"content-length", b"5"),),
                ((b"content-length", b"0"),),
                ((b"transfer-encoding", b"chunked"),),
                ((b"upgrade", b"websocket"), (b"connection", b"upgrade")),
                ((b"cookie", b"spm.x=1; a=b"),),
                ((b"x-forwarded-for", b"10.1.1.1"),),
                ((b"via", b"1.1 a"),),
                ((b"x-large", b"y" * 5000),),
            ]
        ),
        "client": st.sampled_from(["192.0.2.7", "192.0.2.8", None]),
        "scheme": st.sampled_from(["https", "http"]),
        "version": st.sampled_from(["1.1", "1.0", "2"]),
    },
)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("request"), REQUEST),
            st.tuples(st.just("request"), st.just({})),
            st.tuples(st.just("change"), st.sampled_from(CHANGES)),
        ),
        max_size=12,
    ),
    st.sampled_from(["set", "append", "off"]),
)
def test_what_is_remembered_of_requests_changes_nothing(
    steps: list[tuple[str, Any]], forwarded: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(time, "time", clock.time)
        store = a_store()
        warm = SessionProxy(store, forwarded=forwarded)
        for _ in range(2):
            outcome(warm)
        for kind, what in steps:
            if kind == "change":
                what(store, clock)
                continue
            cold = SessionProxy(store, forwarded=forwarded)
            expected = outcome(cold, **what)
            for _ in range(3):
                assert outcome(warm, **what) == expected


def recalled(proxy: SessionProxy, **changed: Any) -> bool:
    return recall(a_request(proxy, **changed), proxy) is not None


def test_a_request_like_the_one_before_is_recalled_and_no_other() -> None:
    proxy = SessionProxy(a_store())
    for _ in range(2):  # What comes once may never come again.
        assert not recalled(proxy)
        outcome(proxy, query=b"first=1")
    assert recalled(proxy)
    assert recalled(proxy, query=b"a=1")
    for changed in (
        {"method": "HEAD"},
        {"key": SECRETS[1]},
        {"key": None},
        {"client": "192.0.2.8"},
        {"scheme": "http"},
        {"version": "1.0"},
        {"more": ((b"x", b"y"),)},
        {"path": f"/bot/sessions/{ID}/other"},
        {"path": f"/bot/sessions/{OTHER}/chat"},
    ):
        assert not recalled(proxy, **changed), changed


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_what_has_changed_is_not_recalled(
    change: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    store = a_store()
    proxy = SessionProxy(store)
    asked = {"key": SECRETS[1]}
    for _ in range(2):
        outcome(proxy, **asked)
    assert recalled(proxy, **asked)
    passage = a_request(proxy).route.findings.passage
    CHANGES[change](store, clock)
    cold = SessionProxy(store)
    for _ in range(2):
        outcome(cold, **asked)
    kept = a_request(cold).route.findings.passage
    # The very same three are found, or it is not recalled.
    same = kept is not None and all(
        getattr(kept, each) is getattr(passage, each)
        for each in ("key", "service", "session")
    )
    assert recalled(proxy, **asked) is same


def test_a_request_that_was_refused_is_not_recalled() -> None:
    proxy = SessionProxy(a_store())
    for _ in range(3):
        outcome(proxy, key="pk_unknown")
        outcome(proxy, method="POST", key=SECRETS[1])
    assert not recalled(proxy, key="pk_unknown")
    assert not recalled(proxy, method="POST", key=SECRETS[1])


def test_a_hook_is_asked_each_time() -> None:
    asked = []

    def who(request: Request) -> Any:
        asked.append(request)

    proxy = SessionProxy(a_store(), authenticate=who)
    for _ in range(2):
        flow = exchange(a_request(proxy), proxy)
        assert type(next(flow)).__name__ == "Authenticate"
        flow.close()


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [OSError("gone"), StoreUnavailable("gone")])
def test_a_store_that_fails_is_no_bug(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = SessionProxy(a_store())
    own = ((b"x-request-id", b"theirs-1"),)
    for _ in range(2):
        outcome(proxy, more=own)
    monkeypatch.setattr(proxy, "known_key", failing(error))
    found = outcome(proxy, more=own)
    assert 503 in found
    assert (b"x-request-id", b"theirs-1") in found[1]  # type: ignore[operator]


class Aliases(MemoryStore):
    """Two secrets lead to one key, and two ids to one session, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions.register("bot", ID, "http://10.0.3.7:8080")
        self.sessions.register("bot", OTHER, "http://10.0.3.8:8080")
        self.keys.create(secret=SECRETS[0])
        self.old_secret = self.old_id = True
        find_key, find = self.keys.lookup, self.sessions.lookup
        real = sha256(SECRETS[0].encode()).digest()

        def key(digest: bytes, /) -> Key | None:
            old = self.old_secret and digest == sha256(SECRETS[1].encode()).digest()
            return find_key(real if old else digest)

        def session(service: str, id: str, /) -> Session | None:
            return find(service, OTHER if self.old_id and id == ID else id)

        self.keys.lookup = key  # type: ignore[method-assign]
        self.sessions.lookup = session  # type: ignore[method-assign]


def test_what_was_asked_for_is_asked_for_again_and_not_what_was_found() -> None:
    store = Aliases()
    proxy = SessionProxy(store)
    for _ in range(3):
        assert 200 in outcome(proxy, key=SECRETS[1])
        assert outcome(proxy)[0] is store.sessions.lookup("bot", OTHER)
    store.old_id = False
    assert outcome(proxy)[0] is store.sessions.lookup("bot", ID)
    store.old_secret = False
    assert 401 in outcome(proxy, key=SECRETS[1])


def test_a_question_mark_in_a_path_stays_where_it_is() -> None:
    proxy = SessionProxy(a_store())
    asked = {"path": f"/bot/sessions/{ID}/a?b", "query": b"q=1"}
    for _ in range(3):
        assert outcome(proxy, **asked)[2] == b"/a?b?q=1"


def test_credentials_are_compared_only_once_their_hashes_are_equal() -> None:
    """GHSA-95c6-p277-p87g: comparing takes as long as they are alike."""
    proxy = SessionProxy(a_store())
    for _ in range(2):
        outcome(proxy)
    passage: Passage = a_request(proxy).route.findings.passage
    compared: list[object] = []

    class All(list[Any]):
        def __ne__(self, other: object) -> bool:
            compared.append(other)
            return super().__ne__(other)

    passage.fields.all = All(passage.fields.all or ())
    assert not recalled(proxy, key=SECRETS[0][:-1] + "x")
    assert not recalled(proxy, key=None)
    assert compared == []
    assert recalled(proxy)
    assert len(compared) == 1


def test_so_many_different_header_sections_are_kept_and_no_more() -> None:
    proxy = SessionProxy(a_store())
    for number in range(3000):
        path = f"/bot/sessions/{ID}/{number}"
        for _ in range(2):
            outcome(proxy, path=path, more=((b"x-own", b"%d" % number),))
    routes = [route for _, route in proxy.match._known.values()]
    kept = {
        id(each.findings.passage.fields) for each in routes if each.findings.passage
    }
    assert 0 < len(kept) <= 1024
    # And one of very many small fields is none of them.
    many = tuple((b"x-%d" % number, b"") for number in range(100))
    for _ in range(3):
        outcome(proxy, more=many)
    assert not recalled(proxy, more=many)
