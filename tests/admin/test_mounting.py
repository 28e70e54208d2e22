"""Where the admin API may be: by itself or in an application, and never in public."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from session_proxy_middleware import ConfigError, MemoryStore, SessionProxy, mounts
from session_proxy_middleware import asgi as proxy_asgi
from session_proxy_middleware import wsgi as proxy_wsgi
from session_proxy_middleware.admin.openapi import description

from ..support.redis_server import RedisServer
from ..support.upstream import Upstream, answering, response
from .serving import ADMIN_API, KEY, UPSTREAM, Caller, Kind, serving

ID = "57af5437-97a2-4646-9873-a5c5935bd705"


def mounted(kind: Kind, path: str, admin: Any, proxy: SessionProxy) -> Any:
    """A host application that has the admin API at a path and is wrapped itself."""
    if kind == "asgi":
        host = Starlette(routes=[Mount(path, app=admin)])
        return proxy_asgi.SessionProxyMiddleware(host, proxy)
    flask = Flask("host")
    flask.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        flask.wsgi_app, {path: admin}
    )
    return proxy_wsgi.SessionProxyMiddleware(flask, proxy)


def test_beside_the_proxy_it_registers_what_is_called_there_and_ends_it(
    kind: Kind, serve: Any, store: MemoryStore
) -> None:
    admin = ADMIN_API[kind](store, keys=[KEY])
    proxy = SessionProxy(store, prefix="/v1/public")
    call: Caller = serve(
        mounted(kind, "/internal/a b", admin, proxy), "/internal/a%20b"
    )
    secret = call("POST", "/keys", {"services": ["bot"]}).json["secret"]
    with Upstream(answering(response(b"hello"))) as upstream:
        new = call("POST", "/services/bot/sessions", {"upstream": upstream.url})
        where = new.headers["location"]
        id = new.json["id"]
        assert where == f"/internal/a%20b/services/bot/sessions/{id}"
        assert call("GET", where.removeprefix(call.mount)).json == new.json
        session = f"http://127.0.0.1:{call.port}/v1/public/bot/sessions/{id}/"
        bearer = {"Authorization": f"Bearer {secret}"}
        with httpx.Client(headers=bearer) as client:
            assert client.get(session).text == "hello"
            call("DELETE", f"/services/bot/sessions/{id}")
            ended = client.get(session)
        assert (ended.status_code, ended.json()["error"]) == (404, "Session not found")
    assert call("GET", "/openapi.json").json == description("/internal/a%20b")
    # A public key opens sessions and nothing here, an admin key the other way round.
    assert call("GET", "/services", key=secret).status == 401
    assert httpx.get(session, headers={"Authorization": f"Bearer {KEY}"}).is_error


@pytest.mark.parametrize("mount", ["/v1/public", "/v1/public/admin"])
def test_under_the_public_prefix_it_answers_nobody(
    kind: Kind,
    serve: Any,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    mount: str,
) -> None:
    admin = ADMIN_API[kind](store, keys=[KEY])
    proxy = SessionProxy(store, prefix="/v1/public")
    call: Caller = serve(mounted(kind, mount, admin, proxy), mount)
    for key in (KEY, None):
        refused = call("PUT", "/services/bot", {}, key=key).refusal
        assert refused[:3] == (500, "500", "internal_error")
    assert store.services.list() == []
    told = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(told) == 1
    assert f"mounted at {mount}, under the public prefix /v1/public" in caplog.text


def test_a_path_that_only_begins_like_the_prefix_is_not_under_it(
    kind: Kind, serve: Any, store: MemoryStore
) -> None:
    admin = ADMIN_API[kind](store, keys=[KEY])
    proxy = SessionProxy(store, prefix="/v1/public")
    call: Caller = serve(mounted(kind, "/v1/publicity", admin, proxy), "/v1/publicity")
    assert call("GET", "/services").status == 200


def test_a_prefix_is_public_as_long_as_its_owner_lives() -> None:
    class Owner:
        pass

    owner: Owner | None = Owner()
    mounts.publish(owner, "/v7")
    assert mounts.public_prefix("/v7/admin") == "/v7"
    owner = None
    assert mounts.public_prefix("/v7/admin") is None


def test_the_middleware_refuses_to_wrap_it(kind: Kind, store: MemoryStore) -> None:
    wrap: Any = proxy_asgi if kind == "asgi" else proxy_wsgi
    admin = ADMIN_API[kind](store, keys=[KEY])
    with pytest.raises(ConfigError, match="not the admin API"):
        wrap.SessionProxyMiddleware(admin, SessionProxy(store))


def test_by_itself_it_closes_at_the_end_what_the_store_has_open(
    tmp_path: Any,
) -> None:
    with RedisServer(tmp_path) as redis:
        admin = ADMIN_API["asgi"](redis.url, keys=[KEY])
        with serving("asgi", admin, lifespan="on") as port:
            call = Caller(port)
            assert call("PUT", "/services/bot", {}).status == 201
            assert redis.clients() == 1
        assert redis.clients() == 0
        admin.store.close()


@pytest.mark.anyio
async def test_a_websocket_is_refused(store: MemoryStore) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    admin: Any = ADMIN_API["asgi"](store, keys=[KEY])
    await admin({"type": "websocket", "path": "/services"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_several_workers_with_a_memory_store_are_warned_of(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    admin = ADMIN_API[kind](MemoryStore(), keys=[KEY])
    assert UPSTREAM not in repr(admin)
    assert "MemoryStore is one process's memory" in caplog.text
