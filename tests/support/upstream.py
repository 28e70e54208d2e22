"""A session's server: plays what a test tells it and remembers what it got."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

from .wire import PATIENCE, Broken, Fields, Message, Wire

Play = Callable[["Conn"], None]
"""What to do with one connection. When it returns, the connection is read (and
what comes is recorded) until the peer closes it."""


class Conn(Wire):
    """One connection that the proxy has made."""

    def __init__(self, upstream: Upstream, sock: socket.socket) -> None:
        super().__init__(sock)
        self._upstream = upstream
        self.received = bytearray()
        self.gone = threading.Event()
        """Set when the proxy has closed it."""
        self.gone_at = 0.0
        """`time.monotonic()` of that."""

    def fill(self) -> bool:
        before = len(self.buffer)
        more = super().fill()
        self.received += self.buffer[before:]
        if not more:
            self.gone_at = self.gone_at or time.monotonic()
            self.gone.set()
        return more

    def request(self, *, body: bool = True) -> Message:
        """The next request, with its body unless told otherwise."""
        message = self.head()
        self._upstream.requests.append(message)
        return self.body(message) if body else message

    def reply(
        self,
        body: bytes = b"",
        *,
        status: str = "200 OK",
        headers: Fields | None = None,
    ) -> None:
        """A whole response of known length."""
        self.send(response(body, status=status, headers=headers))

    def drain(self) -> None:
        """Read, and record, until the proxy closes the connection."""
        try:
            self.sock.settimeout(None)
            while self.fill():
                self.buffer = b""
        except OSError:
            return  # Closed on this side.

    def finish(self) -> None:
        """Close it from the other side of the thread that reads it."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def abort(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()


def response(
    body: bytes = b"", *, status: str = "200 OK", headers: Fields | None = None
) -> bytes:
    """The bytes of a response of known length."""
    lines = [b"HTTP/1.1 " + status.encode()]
    lines += [name + b": " + value for name, value in headers or []]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Play:
    """Answer request after request; the last of `answers` again and again."""
    given = answers or (response(b"ok"),)

    def play(conn: Conn) -> None:
        index = 0
        while True:
            conn.request()
            conn.send(given[min(index, len(given) - 1)])
            index += 1

    return play


class Upstream:
    """A threaded TCP server on a port of its own."""

    def __init__(
        self,
        play: Play,
        *,
        receive_buffer: int | None = None,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> None:
        self.play = play
        self.connections: list[Conn] = []
        self.requests: list[Message] = []
        self.failures: list[BaseException] = []
        self._changed = threading.Condition()
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            self._listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer
            )
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener.bind((host, 0))
        self._listener.listen(2048)
        self.port: int = self._listener.getsockname()[1]
        shown = host if family == socket.AF_INET else f"[{host}]"
        self.url = f"http://{shown}:{self.port}"
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last(self) -> Message:
        """The latest request."""
        return self.requests[-1]

    def connection(self, number: int = 0) -> Conn:
        """The connection of that number, waited for."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: len(self.connections) > number, PATIENCE
            )
        assert enough, f"only {len(self.connections)} connections came"
        return self.connections[number]

    def all_gone(self, within: float) -> bool:
        """Whether the proxy has closed every connection, so soon."""
        end = time.monotonic() + within
        return all(
            conn.gone.wait(max(0.0, end - time.monotonic()))
            for conn in list(self.connections)
        )

    def close(self) -> None:
        """End it; the failures of its plays are the test's."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(PATIENCE)
        for conn in self.connections:
            conn.finish()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            conn = Conn(self, sock)
            thread = threading.Thread(target=self._run, args=(conn,), daemon=True)
            self._threads.append(thread)
            with self._changed:
                self.connections.append(conn)
                self._changed.notify_all()
            thread.start()

    def _run(self, conn: Conn) -> None:
        try:
            self.play(conn)
        except (Broken, OSError):
            pass  # The proxy closed it in the middle of the play: recorded below.
        except BaseException as failure:
            self.failures.append(failure)
            conn.close()
            return
        conn.drain()
