"""An application for several workers around one store, and the server it runs on.

What tests want of a worker they ask it through the host application's own path
`/_control`, on a connection that stays with that worker.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from session_proxy_middleware import SessionProxy, StoreUnavailable, open_store
from session_proxy_middleware.asgi import SessionProxyMiddleware as ASGIMiddleware
from session_proxy_middleware.stores.managed import ManagedStore
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware

from .servers import ROOT, request
from .wire import PATIENCE, Broken, Message, Wire, connect

CONTROL = "/_control"
URL = "CLUSTER_STORE"
EARLY = "CLUSTER_EARLY"


class Control:
    """What tests ask of a worker: `[part, method, arguments, options]`."""

    def __init__(self, store: ManagedStore) -> None:
        self._store = store

    def handle(self, body: bytes) -> bytes:
        """Do it. The answer holds the worker's process id."""
        answer: dict[str, Any] = {"pid": os.getpid()}
        if body:
            part, method, arguments, options = json.loads(body)
            try:
                value = getattr(getattr(self._store, part), method)(
                    *arguments, **options
                )
            except StoreUnavailable as error:
                answer["unavailable"] = str(error)
            else:
                plain = isinstance(value, bool | type(None))
                answer["value"] = value if plain else shown(value)
        return json.dumps(answer).encode()


def shown(value: Any) -> Any:
    """What tests look at."""
    if isinstance(value, list):
        return [shown(each) for each in value]
    names = ("id", "secret", "state", "name", "epoch")
    return {name: getattr(value, name, None) for name in names}


def opened() -> ManagedStore:
    """The store that the environment names; used already, where that is wanted."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.captureWarnings(True)
    store = open_store(os.environ[URL])
    if EARLY in os.environ:
        store.services.put("early")
    return store


def asgi() -> Any:
    """The application under ASGI."""
    store = opened()
    control = Control(store)

    async def host(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = control.handle(body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return ASGIMiddleware(host, SessionProxy(store))


def wsgi() -> Any:
    """The application under WSGI."""
    store = opened()
    control = Control(store)

    def host(environ: Any, start_response: Any) -> list[bytes]:
        answer = control.handle(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    return WSGIMiddleware(host, SessionProxy(store))


class Worker:
    """One of the processes, over a connection that stays with it."""

    def __init__(self, wire: Wire, pid: int) -> None:
        self.wire = wire
        self.pid = pid

    def control(self, part: str, method: str, *arguments: Any, **options: Any) -> Any:
        """See `Control`; the value, or what was unavailable."""
        answer = asked(self.wire, [part, method, arguments, options])
        assert answer["pid"] == self.pid
        return answer.get("value", answer.get("unavailable"))

    def get(self, path: str, key: str | None) -> Message:
        """One request to a session."""
        self.wire.send(request("GET", path, key=key))
        return self.wire.answer()


def asked(wire: Wire, question: Any) -> Any:
    """What a worker answers."""
    wire.send(request("POST", CONTROL, body=json.dumps(question).encode(), key=None))
    return json.loads(wire.answer().body)


def who(wire: Wire) -> int:
    """The process at the other end."""
    wire.send(request("POST", CONTROL, body=b"", key=None))
    pid: int = json.loads(wire.answer().body)["pid"]
    return pid


class Cluster:
    """A server with so many workers, on a store."""

    def __init__(
        self,
        driver: str,
        url: str,
        folder: Path,
        *,
        workers: int = 1,
        options: tuple[str, ...] = (),
        application: str = "tests.support.cluster",
        environment: dict[str, str] | None = None,
    ) -> None:
        self._count = workers
        self._log = folder / f"cluster-{driver}.log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address: tuple[str, int] = listener.getsockname()
        bound = f"{self.address[0]}:{self.address[1]}"
        if driver == "gunicorn":
            command = [
                *("-m", "gunicorn", f"{application}:wsgi()", "--bind", bound),
                *("--worker-class", "gthread", "--threads", "40"),
                *("--workers", str(workers), "--keep-alive", "60"),
                *("--graceful-timeout", "1", "--no-control-socket"),
            ]
        elif driver == "uvicorn.run":  # From a program of one's own.
            call = (
                f"import uvicorn; uvicorn.run({f'{application}:asgi'!r}, factory=True, "
                f"host={self.address[0]!r}, port={self.address[1]}, "
                f"workers={workers}, timeout_graceful_shutdown=1)"
            )
            command = ["-c", call]
        else:
            command = [
                *("-m", "uvicorn", "--factory", f"{application}:asgi"),
                *("--host", self.address[0], "--port", str(self.address[1])),
                *("--workers", str(workers), "--timeout-keep-alive", "60"),
                *("--timeout-graceful-shutdown", "1", "--no-access-log"),
            ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, *options],
                cwd=ROOT,
                env={**os.environ, **(environment or {}), URL: url},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        end = time.monotonic() + 3 * PATIENCE
        found: dict[int, Worker] = {}
        spare: list[Wire] = []
        while len(found) < self._count:
            assert time.monotonic() < end, (len(found), self.log)
            try:
                # Closes the socket of a failed attempt, which `connect` leaves open.
                wire = Wire(socket.create_connection(self.address, PATIENCE))
                pid = who(wire)
            except (OSError, Broken):
                assert self._process.poll() is None, self.log
                time.sleep(0.05)
                continue
            if pid in found:
                spare.append(wire)  # Kept for now, so that the next is another's.
            else:
                found[pid] = Worker(wire, pid)
        for wire in spare:
            wire.close()
        self.workers = list(found.values())
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.wire.close()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            # Its workers are in its session, and end with it.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def log(self) -> str:
        """What it has written to its log."""
        return self._log.read_text("utf-8", "replace")

    def exchange(self, path: str, key: str | None) -> Message:
        """One request to a session, on a connection of its own."""
        with connect(self.address) as wire:
            wire.send(request("GET", path, key=key))
            return wire.answer()
