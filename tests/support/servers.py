"""The portal behind a real server, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .expectations import EXPECTED, WHOLE
from .portal import CONTROL, KEY
from .upstream import Upstream
from .wire import PATIENCE, Broken, Fields, Message, Wire, connect

ROOT = Path(__file__).resolve().parents[2]
STARTING = 60.0
"""Seconds that a server may take to start, where many do at the same time."""
RECEIVE_BUFFER = 131_072
"""Bytes, as the kernel's own begin."""
TROUBLES = (
    "never retrieved",
    "was destroyed but",
    "Exception in callback _SelectorSocketTransport",
    "ResourceWarning",
)
SERVING = [sys.executable, "-m", "tests.support.serving"]


def request(
    method: str,
    target: str | bytes,
    headers: Fields | None = None,
    body: bytes | None = None,
    *,
    key: str | None = KEY,
    host: bytes | None = b"portal.test",
) -> bytes:
    """A request as it goes over the wire. Content-Length is added for a body."""
    if isinstance(target, str):
        target = target.encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1"]
    if host is not None:
        lines.append(b"Host: " + host)
    if key is not None:
        lines.append(b"Authorization: Bearer " + key.encode())
    lines += [name + b": " + value for name, value in headers or []]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


class Portal:
    """A running server with the portal on it."""

    def __init__(
        self,
        server: str,
        folder: Path,
        *,
        root: str = "",
        trust: bool = False,
        grace: int = 1,
        websockets: str = "auto",
    ) -> None:
        """`root`: the path that the server is told it is mounted at. `trust`: it
        believes `X-Forwarded-For` and `-Proto` of loopback peers. `grace`: seconds that
        it gives its requests when it is ended. `websockets`: which library uvicorn
        uses."""
        self.server = server
        self.whole = server in WHOLE
        self.expected = EXPECTED[server]
        self.asgi = self.expected.asgi
        self.root = root
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        # Else the kernel lets what a connection has received and nobody has read grow
        # to 32 MiB, as it sees fit: none of that is the server's or the proxy's.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.address: tuple[str, int] = listener.getsockname()
        command = [*SERVING, server, str(listener.fileno()), "--grace", str(grace)]
        if root:
            command += ["--root", root]
        if trust:
            command.append("--trust")
        self._log = folder / f"{server}.log"
        with listener, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PORTAL_WEBSOCKETS": websockets},
                pass_fds=[listener.fileno()],
            )
        try:
            self._await_start()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
        try:
            self.ended(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """Tell the server to end (SIGTERM)."""
        self._process.terminate()

    def ended(self, within: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait(within)

    def _await_start(self) -> None:
        """One that binds anew refuses for a moment, or drops who came too early."""
        end = time.monotonic() + STARTING
        while True:
            try:
                self.control("state")
                return
            except (OSError, Broken):
                if time.monotonic() > end or not self.alive:
                    self._process.kill()
                    self._process.wait()
                    raise RuntimeError(f"{self.server}:\n{self.log}") from None
                time.sleep(0.05)

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has written to its log."""
        return self._log.read_text("utf-8", "replace")

    @property
    def troubles(self) -> list[str]:
        """What Python itself complains of in the log. Not the log, which may be long:
        of two long texts pytest never ends to tell the difference."""
        log = self.log
        return [each for each in TROUBLES if each in log]

    def connect(self, *, receive_buffer: int | None = None) -> Wire:
        """A connection of one's own."""
        return connect(self.address, receive_buffer=receive_buffer)

    @contextmanager
    def visit(self) -> Iterator[Callable[[bytes], Message]]:
        """Send request after request, on one connection where the server keeps it."""
        if not self.expected.keep_alive:
            yield self.exchange
            return
        with self.connect() as client:

            def send(raw: bytes) -> Message:
                client.send(raw)
                return client.answer(to=raw.split(b" ", 1)[0].decode("latin-1"))

            yield send

    def exchange(self, raw: bytes, *, to: str | None = None) -> Message:
        """Send exactly these bytes; the whole answer."""
        with self.connect() as client:
            client.send(raw)
            return client.answer(to=to or raw.split(b" ", 1)[0].decode("latin-1"))

    def request(
        self,
        method: str,
        target: str | bytes,
        headers: Fields | None = None,
        body: bytes | None = None,
        **options: Any,
    ) -> Message:
        """One request on a connection of its own; the whole answer."""
        return self.exchange(request(method, target, headers, body, **options))

    def control(self, do: str, **arguments: Any) -> Any:
        """See `portal.Control`."""
        asked = json.dumps({"do": do, **arguments}).encode()
        whole = "stripped" not in self.expected.mounts
        path = self.root + CONTROL if whole else CONTROL
        answer = self.request("POST", path, body=asked, key=None)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def mount(
        self,
        upstream: Upstream | str,
        *,
        via: str = "",
        service: str = "my-agent",
        id: str | None = None,
        **options: Any,
    ) -> Site:
        """Register a session and say where it is to be found. `via`: the first path
        segment of the proxy (`portal.proxies`)."""
        url = upstream if isinstance(upstream, str) else upstream.url
        id = id or str(uuid.uuid4())
        self.control("register", service=service, id=id, upstream=url, **options)
        prefix = {"": "", "v1": "/v1/public"}.get(via, f"/{via}")
        counted = "" if via.startswith("mounted") else via
        return Site(self, service, id, prefix, counted)

    def settled(self, within: float = 2.0) -> dict[str, Any]:
        """The state of the process, once nothing is in flight any more."""
        end = time.monotonic() + within
        while True:
            state: dict[str, Any] = self.control("state")
            if not any(state["in_flight"].values()) or time.monotonic() > end:
                return state
            time.sleep(0.02)


@dataclass(slots=True)
class Site:
    """A session as its clients see it."""

    portal: Portal
    service: str
    id: str
    prefix: str
    via: str
    public: str = field(init=False)

    def __post_init__(self) -> None:
        self.public = f"{self.prefix}/{self.service}/sessions/{self.id}"

    def raw(
        self,
        method: str = "GET",
        path: str | bytes = "/",
        headers: Fields | None = None,
        body: bytes | None = None,
        **options: Any,
    ) -> bytes:
        """The bytes of a request to the session."""
        if isinstance(path, str):
            path = path.encode()
        return request(method, self.public.encode() + path, headers, body, **options)

    def request(
        self,
        method: str = "GET",
        path: str | bytes = "/",
        headers: Fields | None = None,
        body: bytes | None = None,
        **options: Any,
    ) -> Message:
        """One request on a connection of its own; the whole answer."""
        return self.portal.exchange(self.raw(method, path, headers, body, **options))

    def open(
        self,
        method: str = "GET",
        path: str | bytes = "/",
        headers: Fields | None = None,
        body: bytes | None = None,
        **options: Any,
    ) -> Wire:
        """Send a request and leave the answer to be read."""
        client = self.portal.connect()
        client.send(self.raw(method, path, headers, body, **options))
        return client

    def in_flight(self) -> int:
        """Requests that the proxy counts."""
        count: int = self.portal.control("state")["in_flight"][self.via]
        return count

    def idle(self, within: float = 2.0) -> bool:
        """Whether it counts none any more, so soon."""
        state = self.portal.settled(within)
        return bool(state["in_flight"][self.via] == 0)


def without_volatile(message: Message) -> bytes:
    """The bytes of an answer but for what differs between any two."""
    head = re.sub(rb"(?im)^(date|x-request-id): .*\r\n", b"", message.raw)
    return head + message.body


__all__ = ["PATIENCE", "Portal", "Site", "request", "without_volatile"]
