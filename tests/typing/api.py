"""The public API as a customer uses it. `mypy --strict` is the test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, assert_type

import httpx

from session_proxy_middleware import (
    CORS,
    Caching,
    Forbidden,
    Key,
    Limits,
    MemoryStore,
    Principal,
    Request,
    Service,
    Session,
    SessionProxy,
    StoreUnavailable,
    Timeouts,
    Unauthenticated,
    WebSockets,
    open_store,
)
from session_proxy_middleware.asgi import SessionProxyMiddleware as ASGIMiddleware
from session_proxy_middleware.interfaces import Authenticator, Store
from session_proxy_middleware.models import State
from session_proxy_middleware.stores.sqlite import SQLiteStore
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware

ID = "57af5437-97a2-4646-9873-a5c5935bd705"


def stores() -> Store:
    store = MemoryStore()
    assert_type(store.services.put("bot", ready=False), Service)
    session = store.sessions.register("bot", ID, "http://10.0.3.7:8080")
    assert_type(session, Session)
    assert_type(store.sessions.lookup("bot", session.id), Session | None)
    assert_type(store.sessions.end("bot", session.id), bool)
    key = store.keys.create(services=["bot"], methods=["GET"], expires_at=2e9)
    assert_type(key, Key)
    assert_type(key.secret, str | None)
    assert_type(store.keys.rotate(key.id, overlap=60), Key | None)
    assert_type(store.keys.list(after=key.id, limit=10), list[Key])
    assert_type(store.keys.revoke(key.id), bool)
    return store


def shared_stores() -> list[Store]:
    store = open_store("sqlite:///sessions.db")
    session = store.sessions.register("bot", ID, "http://b", state="starting", ttl=60)
    assert_type(session.state, State)
    assert_type(session.expires_at, float)
    assert_type(store.sessions.touch("bot", ID, ttl=90), bool)
    assert_type(store.sessions.ready("bot", ID), bool)
    assert_type(store.sessions.drain("bot", ID), bool)
    assert_type(store.sessions.list(service="bot", state="ended"), list[Session])
    assert_type(store.services.list(), list[Service])
    return [store, open_store("redis://127.0.0.1"), SQLiteStore("s.db")]


async def async_stores(store: MemoryStore) -> None:
    assert_type(await store.services.aput("bot"), Service)
    assert_type(await store.sessions.aregister("bot", ID, "unix:///s"), Session)
    assert_type(await store.sessions.alookup("bot", ID), Session | None)
    assert_type(
        await store.keys.acreate(secret="pk_mine_0123456789abcdef01234567"), Key
    )
    assert_type(await store.sessions.aend("bot", ID), bool)


def by_header(request: Request) -> Principal:
    user = request.header("x-user")
    assert_type(user, str | None)
    if user is None:
        raise Unauthenticated
    if request.route.service == "secret":
        raise Forbidden("not for you")
    return Principal(id=user, services=("bot-*",), paths=("/status",))


async def by_database(request: Request) -> Principal:
    await asyncio.sleep(0)
    raise StoreUnavailable("the database is away")


class ByObject:
    def __call__(self, request: Request) -> Principal:
        return Principal(id=request.method)


def proxies() -> list[SessionProxy]:
    authenticators: list[Authenticator] = [by_header, by_database, ByObject()]
    return [
        SessionProxy("memory://"),
        *(SessionProxy(stores(), authenticate=each) for each in authenticators),
        SessionProxy(
            stores(),
            prefix="/v1/public",
            session_id_pattern="[a-z]+",
            ssl_context=ssl.create_default_context(),
            timeouts=Timeouts(connect=1, response=2.5, idle=3, total=None),
            limits=Limits(per_session=1, per_key=None, body=10),
            forwarded="append",
            session_id_header="x-session",
            reserved_paths=["/bot", "/admin"],
            cookies="drop",
            isolation="off",
            cors=CORS(allow_origins=["https://app.example"], max_age=60),
            contract="strict",
            allowed_networks=["10.0.0.0/8", "fd00::/8"],
            drain=10,
            caching=Caching(found=2, absent=0, keys=1.5, entries=10),
            websockets=WebSockets(
                allowed_origins=["https://app.example"],
                max_message=1_000_000,
                ping_interval=None,
                compression=True,
            ),
            ready_wait=3,
            ready_path="/readyz",
        ),
        SessionProxy.for_pipecat("memory://", prefix="/v1/public"),
        SessionProxy(store=MemoryStore(), transport=httpx.AsyncHTTPTransport()),
    ]


Message = MutableMapping[str, Any]


async def asgi_app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def wsgi_app(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b""]


def applications(proxy: SessionProxy) -> tuple[ASGIMiddleware, WSGIMiddleware]:
    return ASGIMiddleware(asgi_app, proxy), WSGIMiddleware(wsgi_app, proxy=proxy)
