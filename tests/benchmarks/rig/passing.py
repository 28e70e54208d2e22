"""The cost of letting a request pass: the middleware around nothing, and nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..servers import wire
from .targets import Verdict

CALLS: Final = 20_000
TURNS: Final = 9
TARGET_US: Final = 1.0

#: What an application is asked for, and what looks like a session's at first.
PATHS: Final = {
    "ordinary path": ("/", "/api/v1/items/42", "/static/css/site.css"),
    "near miss": ("/my-agent/sessions/", "/shop/sessions/42"),
}

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Wsgi = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Microseconds of one call on one path."""

    path: str = ""
    bare: float = 0.0
    wrapped: float = float("-inf")

    @property
    def added(self) -> float:
        """What the middleware adds."""
        return self.wrapped - self.bare


def measured() -> Iterator[Verdict]:
    """The microseconds the middleware adds to a request it lets pass, by protocol.

    The lowest of several turns, for the path where the difference is highest.
    """
    for kind, paths in PATHS.items():
        yield _verdict(f"ASGI passing, {kind}", asyncio.run(_asgi_cost(paths)))
        yield _verdict(f"WSGI passing, {kind}", _wsgi_cost(paths))


def _verdict(what: str, costs: Costs) -> Verdict:
    return Verdict(
        f"{what}: added us",
        costs.added,
        at_most=TARGET_US,
        more=f"(bare {costs.bare:.2f}, wrapped {costs.wrapped:.2f}; {costs.path})",
    )


async def _asgi_cost(paths: tuple[str, ...]) -> Costs:
    from session_proxy_middleware import MemoryStore, SessionProxy
    from session_proxy_middleware.asgi import SessionProxyMiddleware

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        return None

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        return None

    async def timed(app: Asgi, scope: dict[str, Any]) -> float:
        calls = range(CALLS)
        started = time.perf_counter()
        for _ in calls:
            await app(scope, receive, send)
        return (time.perf_counter() - started) / CALLS * 1e6

    wrapped: Asgi = SessionProxyMiddleware(bare, SessionProxy(store=MemoryStore()))
    worst = Costs()
    for path in paths:
        scope = _scope(path)
        turns = [
            (await timed(bare, scope), await timed(wrapped, scope)) for _ in _turns()
        ]
        worst = max(worst, _lowest(path, turns), key=_added)
    return worst


def _wsgi_cost(paths: tuple[str, ...]) -> Costs:
    from session_proxy_middleware import MemoryStore, SessionProxy
    from session_proxy_middleware.wsgi import SessionProxyMiddleware

    def bare(environ: Any, start_response: Any) -> Any:
        return ()

    def timed(app: Wsgi, environ: dict[str, Any]) -> float:
        calls = range(CALLS)
        started = time.perf_counter()
        for _ in calls:
            app(environ, None)
        return (time.perf_counter() - started) / CALLS * 1e6

    wrapped: Wsgi = SessionProxyMiddleware(bare, SessionProxy(store=MemoryStore()))
    worst = Costs()
    for path in paths:
        environ = _environ(path)
        turns = [(timed(bare, environ), timed(wrapped, environ)) for _ in _turns()]
        worst = max(worst, _lowest(path, turns), key=_added)
    return worst


def _turns() -> range:
    return range(TURNS)


def _lowest(path: str, turns: list[tuple[float, float]]) -> Costs:
    bare, wrapped = zip(*turns, strict=True)
    return Costs(path=path, bare=min(bare), wrapped=min(wrapped))


def _added(costs: Costs) -> float:
    return costs.added


def _scope(path: str) -> dict[str, Any]:
    headers = [(name.lower().encode(), value.encode()) for name, value in wire.HEADERS]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"portal.example.com"), *headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {},
    }


def _environ(path: str) -> dict[str, Any]:
    fields = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in wire.HEADERS
    }
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "RAW_URI": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "portal.example.com",
        **fields,
    }
