"""What is not a session's reaches the host application, as the very same objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware as ASGIMiddleware
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.wire import Message
from .conftest import Serve
from .test_table import UNKNOWN

HOSTS = [
    "/",
    "/x",
    "/my-agent",
    "/my-agent/sessions",
    "/my-agent/sessions/",
    f"/my-agent/sessions/{UNKNOWN}",
    "/my-agent/sessions/malformed",
    "//sessions/" + UNKNOWN + "/x",
    "/my-agent/sessions//x",
    "/my-agent/sessions//",
    f"/my-agent//sessions/{UNKNOWN}/x",
    f"/my-agent/Sessions/{UNKNOWN}/x",
    f"/my-agent/SESSIONS/{UNKNOWN}/x",
    f"/my-agent/session/{UNKNOWN}/x",
    f"/sessions/{UNKNOWN}/x",
    f"/a/b/sessions/{UNKNOWN}/x",
]
PREFIXED = [
    f"/v1/my-agent/sessions/{UNKNOWN}/x",
    f"/v1/publicly/my-agent/sessions/{UNKNOWN}/x",
    f"/v1/public/sessions/{UNKNOWN}/x",
    f"/v1/public/a/b/sessions/{UNKNOWN}/x",
    f"/v1/Public/my-agent/sessions/{UNKNOWN}/x",
    f"/v1/public//my-agent/sessions/{UNKNOWN}/x",
    f"/x/v1/public/my-agent/sessions/{UNKNOWN}/x",
]


@pytest.mark.parametrize("target", HOSTS + PREFIXED)
def test_what_has_not_the_routes_shape_is_the_host_applications(
    portal: Portal, target: str
) -> None:
    for method in ("GET", "POST"):
        answer = portal.request(method, target, key=None)
        assert answer.status == 200, answer
        assert hosted(answer, target)


def hosted(answer: Message, target: str) -> bool:
    return (
        answer.has("x-host") and answer.body == b"host application: " + target.encode()
    )


@pytest.mark.parametrize(
    "target",
    [
        f"/my-agent/sessions/{UNKNOWN}/",
        f"/my-agent/sessions/{UNKNOWN}//",
        "/my-agent/sessions/malformed/",
        f"/%6Dy-agent/sessions/{UNKNOWN}/x",
        f"/my-agent/%73essions/{UNKNOWN}/x",
        f"/my-agent%2Fsessions%2F{UNKNOWN}%2Fx",
        f"/my-agent/sessions/{UNKNOWN}%2Fx",
        f"/my-agent/sessions%2F{UNKNOWN}/x",
        f"/v1/public/my-agent/sessions/{UNKNOWN}/",
    ],
)
def test_what_has_the_routes_shape_never_falls_through(
    portal: Portal, target: str
) -> None:
    answer = portal.request("GET", target, key=None)
    check(answer, contract.NO_CREDENTIAL)
    answer = portal.request("GET", target)
    assert answer.ours, answer


@pytest.mark.everywhere
def test_the_slash_after_the_id_is_the_sessions_root(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    assert site.request("GET", "/").status == 200
    assert upstream.last.target == b"/"
    assert hosted(portal.request("GET", site.public), site.public)


def test_an_encoded_service_is_the_service(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    answer = portal.request("GET", f"/%6Dy-agent/sessions/{site.id}/a%2Fb")
    assert answer.status == 200
    assert upstream.last.target == b"/a%2Fb"


def test_a_shape_that_appears_only_when_decoded_is_refused(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    answer = portal.request("GET", f"/my-agent%2Fsessions%2F{site.id}%2Fx")
    check(answer, contract.MALFORMED_PATH)
    assert upstream.connections == []


@pytest.mark.parametrize("via", ["v1", "mounted"])
def test_a_proxy_under_a_prefix_or_a_mount_point(
    portal: Portal, serve: Serve, via: str
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via=via)
    assert site.request("GET", "/a%2Fb?c").status == 200
    assert upstream.last.target == b"/a%2Fb?c"
    assert upstream.last.one("x-forwarded-prefix") == site.public.encode()
    check(site.request("GET", "/bot"), contract.RESERVED_PATH)
    check(site.request("GET", "/%2e%2e/x"), contract.MALFORMED_PATH)


def a_proxy() -> SessionProxy:
    return SessionProxy(MemoryStore(), prefix="/v1")


def test_an_asgi_host_gets_the_very_same_objects() -> None:
    seen: list[tuple[Any, ...]] = []

    async def host(*arguments: Any) -> None:
        seen.append(arguments)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        return None

    app = ASGIMiddleware(host, a_proxy())
    for kind in ("http", "websocket", "webtransport"):
        for path in (
            "/x",
            f"/my-agent/sessions/{UNKNOWN}/x",
            f"/v1/a/sessions/{UNKNOWN}",
        ):
            scope: dict[str, Any] = {
                "type": kind,
                "path": path,
                "headers": [],
                "raw_path": path.encode(),
            }
            before = dict(scope)
            asyncio.run(app(scope, receive, send))
            assert all(
                one is other
                for one, other in zip(seen[-1], (scope, receive, send), strict=True)
            )
            assert scope == before
    assert len(seen) == 9


def test_an_asgi_host_gets_the_lifespan() -> None:
    seen: list[Any] = []

    async def host(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, await receive()))
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        seen.append(message["type"])

    scope = {"type": "lifespan"}
    asyncio.run(ASGIMiddleware(host, a_proxy())(scope, receive, send))
    assert seen[0][0] is scope
    assert seen[0][1] == {"type": "lifespan.startup"}
    assert seen[1:] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_wsgi_host_gets_the_very_same_objects() -> None:
    seen: list[tuple[Any, ...]] = []
    answer = [b"hello"]

    def host(*arguments: Any) -> list[bytes]:
        seen.append(arguments)
        return answer

    def start_response(*_: Any) -> None:
        return None

    app = WSGIMiddleware(host, a_proxy())
    for path in (
        "/x",
        "",
        f"/my-agent/sessions/{UNKNOWN}/x",
        f"/v1/a/sessions/{UNKNOWN}",
    ):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": ""}
        before = dict(environ)
        assert app(environ, start_response) is answer
        assert seen[-1][0] is environ
        assert seen[-1][1] is start_response
        assert environ == before
