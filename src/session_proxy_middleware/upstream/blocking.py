"""The default under WSGI: the same codec and pool on blocking sockets.

Sockets do not block by themselves; every wait is one `poll` that can watch two
things at once, the session and where possible the client. So it works in threads
and under gevent's patched `select` alike, and needs no event loop.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from weakref import WeakSet

from ..errors import (
    ClientDisconnected,
    ConnectFailed,
    ConnectTimeout,
    RequestTimeout,
    ResponseTruncated,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ..interfaces import Departure, Upload
from ..models import Outbound, Session
from ..options import Timeouts
from . import h1
from .pool import Pool
from .tls import default_context
from .waiting import READ, WRITE, wait

AT_ONCE = 0.02
"""Seconds that a session may take before its client is watched as well: most answer
sooner, and that is one cheap wait."""

RECEIVE_BUFFER = 131_072
"""Bytes. Buffers are taken while bytes are there and given back at once."""


class HTTP11Transport:
    """A `Transport` of this package's own. Nothing is opened before the first
    request; a forked child starts with no connections."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._pool: Pool[Connection] = Pool()
        self._buffers: deque[memoryview] = deque(maxlen=64)
        _TRANSPORTS.add(self)

    def send(
        self,
        outbound: Outbound,
        upload: Upload | None,
        departure: Departure | None = None,
    ) -> Response:
        """See `Transport.send`."""
        head = h1.head(outbound)
        connection = self._take(outbound.session)
        if connection is not None:
            try:
                return connection.exchange(outbound, head, upload, departure)
            except StaleConnection as stale:
                if not h1.retryable(outbound):
                    raise UpstreamUnreachable(str(stale)) from stale
        connection = self._connect(outbound.session)
        try:
            return connection.exchange(outbound, head, upload, departure)
        except StaleConnection as stale:
            raise UpstreamUnreachable(str(stale)) from stale

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle = self._pool.clear()
        for connection in idle:
            connection.close()

    def give(self, connection: Connection) -> None:
        """The connection's exchange ended cleanly."""
        now = time.monotonic()
        with self._lock:
            self._pool.give(connection.pool_key, connection, now)
            expired = self._pool.expired(now)
        for old in expired:
            old.close()

    def buffer(self) -> memoryview:
        """A receive buffer; give it back with `recycle`."""
        try:
            return self._buffers.pop()
        except IndexError:
            return memoryview(bytearray(RECEIVE_BUFFER))

    def recycle(self, buffer: memoryview) -> None:
        """The buffer is free again."""
        self._buffers.append(buffer)

    def forked(self) -> None:
        """This is a child process: its parent's sockets are its parent's, and two
        processes on one connection would read each other's responses."""
        self._lock = threading.Lock()
        for connection in self._pool.clear():
            connection.sock.close()

    def _take(self, session: Session) -> Connection | None:
        while True:
            with self._lock:
                connection = self._pool.take(session.pool_key, time.monotonic())
            if connection is None:
                return None
            # Readable while idle: closed by the session, or bytes nobody asked for.
            if not connection.readable(0):
                return connection
            connection.close()

    def _connect(self, session: Session) -> Connection:
        origin = session.origin
        timeout = self.timeouts.connect
        begun = time.monotonic()
        sock: socket.socket | None = None
        try:
            if origin.scheme == "unix":
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(timeout)
                sock.connect(origin.host)
            else:
                sock = socket.create_connection((origin.host, origin.port), timeout)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                context = self._ssl_context or default_context()
                sock.settimeout(max(0.001, begun + timeout - time.monotonic()))
                sock = context.wrap_socket(sock, server_hostname=origin.host)
            sock.setblocking(False)
        except TimeoutError as error:
            _close(sock)
            raise ConnectTimeout(
                f"no connection to {session.upstream} in {timeout} s"
            ) from error
        except (OSError, UnicodeError) as error:
            _close(sock)
            raise ConnectFailed(f"{session.upstream}: {error}") from error
        return Connection(self, session.pool_key, sock)


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


_TRANSPORTS: WeakSet[HTTP11Transport] = WeakSet()


def _after_fork() -> None:
    for transport in list(_TRANSPORTS):
        transport.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class StaleConnection(Exception):
    """The connection ended before a byte of the response."""


class Response(h1.Message):
    """A session's response on the way: a `Response` of `interfaces`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def read(self) -> bytes:
        """The bytes that are there, or the next that come; none at the end."""
        while not self.pieces:
            if self.complete:
                return b""
            self._connection.advance(self)
        return self.take()

    def close(self) -> None:
        """Break off what is not complete."""
        self._connection.leave(self)


class Connection:
    """One connection to a session, and the exchange that is on it."""

    def __init__(
        self, transport: HTTP11Transport, pool_key: tuple[str, int], sock: socket.socket
    ) -> None:
        self.sock = sock
        self.pool_key = pool_key
        self._transport = transport
        self._reader = h1.ResponseReader()
        self._response: Response | None = None
        self._upload: Upload | None = None
        self._departure: Departure | None = None
        self._chunked = False
        self._unsent = b""
        self._eof = False
        self._last_moment = float("inf")
        self._poll: select.poll | None = None

    def exchange(
        self,
        outbound: Outbound,
        head: bytes,
        upload: Upload | None,
        departure: Departure | None,
    ) -> Response:
        """Send the request and wait for the head of its response."""
        response = self._response = Response(self)
        self._reader.begin(response, is_head=outbound.method == b"HEAD")
        timeouts = self._transport.timeouts
        if timeouts.total is not None:
            self._last_moment = time.monotonic() + timeouts.total
        self._departure = departure
        length = outbound.length
        data = b""
        try:
            if upload is not None:
                data = upload.read()
                if upload.ended and length is None:
                    length = len(data)  # All of it is here: its length is known.
            self._chunked = upload is not None and length is None
            self._upload = upload
            self._unsent = head + h1.framing(outbound, length) + self._encoded(data)
            self._after_piece()
            deadline: float | None = None
            while not response.head:
                if deadline is None and not self._unsent and self._upload is None:
                    deadline = time.monotonic() + timeouts.response
                self.advance(response, deadline)
        except BaseException:
            self.close()
            raise
        return response

    def advance(self, response: Response, deadline: float | None = None) -> None:
        """One step: send what can be sent, receive what has come.

        `deadline` is for the head of the response; without one a step may take as
        long as `Timeouts.idle` allows.
        """
        try:
            self._advance(response, deadline)
        except BaseException:
            self.close()
            raise

    def _advance(self, response: Response, deadline: float | None) -> None:
        if self._unsent:
            self._flush()
            if not self._unsent:
                return
        elif self._upload is not None and not wait(self.sock, READ, timeout=0):
            # An answer that is already there goes before more of the upload.
            try:
                self._unsent = self._encoded(self._upload.read())
            except RequestTimeout:
                # The session may have answered while the client said nothing.
                if not wait(self.sock, READ, timeout=0):
                    raise
                self._upload = None
                self._eof = True
            else:
                self._after_piece()
                return
        events = READ | WRITE if self._unsent else READ
        if not self._buffered() and not self._wait(events, response, deadline):
            return
        self._receive(response)

    def _encoded(self, data: bytes) -> bytes:
        return h1.chunk(data) if self._chunked and data else data

    def _after_piece(self) -> None:
        if self._upload is not None and self._upload.ended:
            self._upload = None
            if self._chunked:
                self._unsent += h1.LAST_CHUNK

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError:
            # The session may have answered before it hung up: read that first.
            self._unsent = b""
            self._upload = None
            self._eof = True
            return
        self._unsent = self._unsent[sent:]

    def _buffered(self) -> bool:
        """Bytes that TLS has decrypted already, which no poll shows."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def readable(self, seconds: float) -> bool:
        """Whether there is something to read within that time."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN)
        return bool(self._poll.poll(seconds * 1000))

    def _wait(self, events: int, response: Response, deadline: float | None) -> bool:
        """Until the socket is ready to be read. False when it is only writable."""
        if not events & WRITE and self.readable(AT_ONCE):
            return True
        now = time.monotonic()
        limit = now + self._transport.timeouts.idle
        limit = min(limit, self._last_moment)
        if deadline is not None:
            limit = min(limit, deadline)
        ready = wait(self.sock, events, timeout=limit - now, departure=self._departure)
        if ready:
            return bool(ready & READ)
        if self._departure is not None and self._departure.gone():
            raise ClientDisconnected("seen while waiting for the session")
        if response.head:
            raise ResponseTruncated("upstream_idle", "no byte in either direction")
        raise UpstreamTimeout(f"{self.pool_key[0]} is silent")

    def _receive(self, response: Response) -> None:
        buffer = self._transport.buffer()
        try:
            received = self.sock.recv_into(buffer)
            if received:
                self._reader.feed(buffer[:received])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            return self._ended(response, str(error), clean=False)
        except h1.ProtocolViolation as violation:
            if response.head:
                raise ResponseTruncated(
                    "upstream_protocol", str(violation)
                ) from violation
            raise UpstreamProtocolError(str(violation)) from violation
        finally:
            self._transport.recycle(buffer)
        if not received:
            self._ended(response, "end of stream", clean=True)
        elif response.complete:
            self._complete()

    def _ended(self, response: Response, how: str, *, clean: bool) -> None:
        detail = f"{self.pool_key[0]} closed the connection: {how}"
        try:
            self._reader.eof(clean=clean)
        except h1.Truncated:
            if response.head:
                raise ResponseTruncated("upstream_closed", detail) from None
            if self._reader.started:
                raise UpstreamProtocolError(f"{detail} inside the head") from None
            raise StaleConnection(detail) from None
        self._complete()

    def _complete(self) -> None:
        """The response is whole; the connection is free, or done with."""
        self._response = None
        self._departure = None
        whole = not self._unsent and self._upload is None and not self._eof
        self._unsent, self._upload = b"", None
        if whole and self._reader.reusable:
            self._transport.give(self)
        else:
            self.close()

    def leave(self, response: Response) -> None:
        """Close the connection if `response` is still on it."""
        if self._response is response:
            self.close()

    def close(self) -> None:
        """Close the socket."""
        self._response = None
        self._upload = None
        self.sock.close()
