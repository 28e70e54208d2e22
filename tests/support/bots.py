"""Bots on ports that are used again: each runs one session, then another.

`python -m tests.support.bots asgi|wsgi COUNT guarded|plain` serves; `Bots` starts that
and says which session runs where. Every answer's body is the session that gave it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from session_proxy_middleware.guard import SessionGuard

ROOT = Path(__file__).resolve().parents[2]
IDLE = "nobody"
"""What a bot answers that runs no session."""


class Place:
    """A port, and the session that is on it by now.

    A request and a change of the session never overlap here: so what is counted as
    wrong has come while another session was there, and not just before.
    """

    def __init__(self) -> None:
        self.running: str | None = None
        self.lock = threading.Lock()
        self.reached = self.wrong = self.refused = 0

    def count(self, asked: str) -> bytes:
        """A request has reached the application."""
        self.reached += 1
        self.wrong += self.running not in (asked, None)
        return (self.running or IDLE).encode()


def asgi(place: Place, guarded: bool) -> Any:
    """A bot for one port; on its loop nothing comes between guard and application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = place.count(dict(scope["headers"])[b"x-daily-session-id"].decode())
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    guard = SessionGuard(app, lambda: place.running) if guarded else app

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        before = place.reached
        await guard(scope, receive, send)
        place.refused += place.reached == before

    return counted


def wsgi(place: Place, guarded: bool) -> Any:
    """The same for WSGI, where a lock sees to it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = place.count(environ["HTTP_X_DAILY_SESSION_ID"])
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    guard = SessionGuard(app, lambda: place.running) if guarded else app

    def locked(environ: Any, start_response: Any) -> list[bytes]:
        with place.lock:
            before = place.reached
            body = list(guard(environ, start_response))
            place.refused += place.reached == before
            return body

    return locked


class Serving:
    """The process of the bots. A line on its standard input is `[place, session]`,
    or null for the counts; each is answered with a line."""

    def __init__(self, kind: str, count: int, guarded: bool) -> None:
        self.places = [Place() for _ in range(count)]
        self.sockets = [
            socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(count)
        ]
        self.ports = [each.getsockname()[1] for each in self.sockets]
        make = asgi if kind == "asgi" else wsgi
        applications = [make(place, guarded) for place in self.places]
        self._by_port = dict(zip(self.ports, applications, strict=True))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run = self._asgi if kind == "asgi" else self._wsgi

    def main(self) -> None:
        """Serve until the standard input ends."""
        threading.Thread(target=self._run, daemon=True).start()
        print(json.dumps(self.ports), flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            if told is None:
                names = ("reached", "wrong", "refused")
                sums = [sum(getattr(p, name) for p in self.places) for name in names]
                print(json.dumps(sums), flush=True)
            else:
                self._change(*told)
                print("null", flush=True)

    def _change(self, index: int, session_id: str | None) -> None:
        place = self.places[index]

        async def change() -> None:
            place.running = session_id

        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(change(), self._loop).result()
        else:
            with place.lock:
                place.running = session_id

    def _asgi(self) -> None:
        import uvicorn

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self._by_port[scope["server"][1]](scope, receive, send)

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            config = uvicorn.Config(
                app, lifespan="off", access_log=False, log_level="warning"
            )
            await uvicorn.Server(config).serve(self.sockets)

        asyncio.run(serve())

    def _wsgi(self) -> None:
        from waitress.server import create_server

        def app(environ: Any, start_response: Any) -> Any:
            return self._by_port[int(environ["SERVER_PORT"])](environ, start_response)

        create_server(app, sockets=self.sockets, threads=8, connection_limit=4000).run()


class Bots:
    """The bots, seen from outside."""

    def __init__(self, kind: str, count: int, *, guarded: bool = True) -> None:
        how = "guarded" if guarded else "plain"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.bots", kind, str(count), how],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self.urls = [f"http://127.0.0.1:{port}" for port in self._answer()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, index: int, session_id: str | None) -> None:
        """From now on this session runs there."""
        self._tell([index, session_id])

    def counts(self) -> tuple[int, int, int]:
        """Requests that reached a bot, that reached one of another session, and that
        were refused by a guard."""
        reached, wrong, refused = self._tell(None)
        return reached, wrong, refused

    def _tell(self, what: Any) -> Any:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


if __name__ == "__main__":
    Serving(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "guarded").main()
