"""What hosts wrap around the middleware, though it should be outermost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
WSGIApp = Callable[[Any, Any], Iterable[bytes]]


def reading_asgi(app: ASGIApp) -> ASGIApp:
    """Reads the body and hands on a `receive` that has none left; where the client
    asks for it (`X-Replay`), one that says so, as Starlette's BaseHTTPMiddleware does
    of a request whose stream was read."""

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            more = (await receive()).get("more_body", False)

        async def replay() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        asked = any(name == b"x-replay" for name, _ in scope["headers"])
        await app(scope, replay if asked else receive, send)

    return reading


def reading_wsgi(app: WSGIApp) -> WSGIApp:
    """Reads the body, as `werkzeug.Request(environ).get_data()` does."""

    def reading(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return app(environ, start_response)

    return reading
