"""A portal that people log in to with a cookie, with sessions behind it."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from session_proxy_middleware import (
    CORS,
    MemoryStore,
    Principal,
    SessionProxy,
    Unauthenticated,
)
from session_proxy_middleware import Request as ProxyRequest
from session_proxy_middleware.asgi import SessionProxyMiddleware

from ..support.upstream import Conn, Play, response
from ..support.wire import Fields

LOGIN = "portal_login=secret"
SAFE, OFF, API = "", "/off", "/api/public"


@dataclass
class Portal:
    """The portal; `seen` is what its own routes were asked: method and path, and
    the cookies that came along."""

    url: str
    store: MemoryStore
    seen: list[tuple[str, str]] = field(default_factory=list)

    def session(self, upstream: str, at: str = SAFE) -> str:
        """The public URL, with a slash, of a new session there."""
        id = str(uuid.uuid4())
        self.store.sessions.register("bot", id, upstream)
        return f"{self.url}{at}/bot/sessions/{id}/"

    def as_the_user(self) -> list[str]:
        """What was asked with the login cookie."""
        return [what for what, cookies in self.seen if LOGIN in cookies]


def by_login(request: ProxyRequest) -> Principal:
    """The host's own authentication: whoever has logged in to the portal."""
    if LOGIN not in (request.header("cookie") or ""):
        raise Unauthenticated
    return Principal(id="anna")


def application(portal: Portal, cross_origin: str) -> FastAPI:
    """The portal's own routes, and three proxies around them: as it comes, with
    nothing kept apart (to see that the attacks are attacks), and a public API."""
    app = FastAPI()
    store = portal.store
    for proxy in (
        SessionProxy(store, authenticate=by_login),
        SessionProxy(
            store,
            prefix=OFF,
            authenticate=by_login,
            cookies="forward",
            isolation="off",
        ),
        SessionProxy(store, prefix=API, cors=CORS(allow_origins=[cross_origin])),
    ):
        app.add_middleware(SessionProxyMiddleware, proxy=proxy)

    def note(request: Request) -> None:
        what = f"{request.method} {request.url.path}"
        portal.seen.append((what, request.headers.get("cookie", "")))

    @app.get("/login")
    def login() -> Response:
        # Readable for scripts, so that nothing but the proxy keeps it from them.
        reply = HTMLResponse("<title>portal</title>")
        reply.headers["set-cookie"] = f"{LOGIN}; Path=/; SameSite=Lax"
        return reply

    @app.get("/account")
    def account(request: Request) -> Response:
        note(request)
        return HTMLResponse("<title>portal</title><p>balance: 17</p>")

    @app.get("/me")
    def me(request: Request) -> dict[str, str]:
        note(request)
        return {"cookies": request.headers.get("cookie", "")}

    @app.post("/transfer")
    def transfer(request: Request) -> dict[str, bool]:
        note(request)
        return {"done": LOGIN in request.headers.get("cookie", "")}

    return app


@contextmanager
def running(cross_origin: str) -> Iterator[Portal]:
    """The portal under uvicorn, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    portal = Portal(f"http://127.0.0.1:{listener.getsockname()[1]}", MemoryStore())
    config = uvicorn.Config(application(portal, cross_origin), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield portal
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def page(body: str, *fields: tuple[bytes, bytes], type: str = "text/html") -> bytes:
    """A response that is one."""
    headers: Fields = [(b"Content-Type", type.encode())] if type else []
    return response(body.encode(), headers=[*headers, *fields])


def pages(answers: dict[str, bytes]) -> Play:
    """Answer each path with its page, any other with a 404."""

    def play(conn: Conn) -> None:
        try:
            while True:
                path = conn.request().target.split(b"?")[0].decode()
                conn.send(answers.get(path) or response(status="404 Not Found"))
        finally:
            # Browsers keep connections, some of them not used yet, and would come back
            # to this one when nobody answers there any more.
            conn.finish()

    return play
