"""The default under WSGI: the same codec and pool on blocking sockets.

A call that receives waits by itself, for a moment, where the system can bound that
(`AT_ONCE`); every longer wait is one `poll` that can watch two things at once, the
session and where possible the client. TLS and gevent wait by `poll` alone. So it works
in threads and under gevent's patched `select` alike, and needs no event loop.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from weakref import WeakSet

from ..draining import Drain
from ..errors import (
    ConnectFailed,
    ConnectTimeout,
    SessionNotFound,
    UpstreamUnreachable,
)
from ..interfaces import Departure, Upload
from ..models import Origin, Outbound, Session
from ..options import Timeouts
from ..rules.networks import Networks
from . import h1
from .blocking_connection import Connection, Response, StaleConnection
from .endings import Endings, Later
from .pool import Pool
from .resolving import resolve
from .tls import default_context, telling

LOOK_EVERY = 0.1
"""Seconds between looks for connections that have been idle too long."""


class HTTP11Transport:
    """A `Transport` of this package's own. Nothing is opened before the first
    request; a forked child starts with no connections."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        networks: Networks | None = None,
        drain: Drain | None = None,
    ) -> None:
        self.drain = drain if drain is not None else Drain(0)
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        self._ssl_context = None if ssl_context is None else telling(ssl_context)
        self._networks = networks if networks is not None else Networks()
        self._lock = threading.Lock()
        self._pool: Pool[Connection] = Pool()
        self._busy: defaultdict[int, set[Connection]] = defaultdict(set)
        """Connections with a request on them, by the epoch of their session."""
        self._endings = Endings()
        self._later = Later(self._cut)
        self._look_at = 0.0
        self.buffers: deque[memoryview] = deque(maxlen=64)
        """What its connections receive into, in turn."""
        self.lingers: Callable[[], None] = _nothing
        """Called when a session takes its time with a request."""
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
        first: bytes | None = None
        if connection is not None:
            try:
                return connection.exchange(outbound, head, upload, departure)
            except StaleConnection as stale:
                if stale.unsent is None and not h1.retryable(outbound):
                    raise UpstreamUnreachable(str(stale)) from stale
                first = stale.unsent
        connection = self._connect(outbound.session)
        try:
            return connection.exchange(outbound, head, upload, departure, first)
        except StaleConnection as stale:
            raise UpstreamUnreachable(str(stale)) from stale

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle = self._pool.clear()
        for connection in idle:
            connection.close()

    def forget(self, session: Session) -> None:
        """Close the idle connections to a session."""
        with self._lock:
            idle = self._pool.remove(session.pool_key)
        for connection in idle:
            connection.close()

    def end(self, session: Session) -> None:
        """Close all connections to a session that has ended, and break off what is
        under way on them; from any thread."""
        self._endings.note(session.epoch)
        self.forget(session)
        if session.epoch in self._busy:
            self._later.add(session.epoch)

    def _cut(self, epoch: int) -> None:
        with self._lock:
            busy = list(self._busy.get(epoch, ()))
        for connection in busy:
            connection.end()

    def lasting(self) -> list[Session]:
        """The sessions that had a request under way when this was last asked, and have
        the same one still."""
        found = {}
        with self._lock:
            for epoch, busy in self._busy.items():
                lasts = [each.lasts() for each in busy]  # Of each, not up to the first.
                if any(lasts):
                    found[epoch] = next(iter(busy)).session
        return list(found.values())

    @property
    def in_flight(self) -> bool:
        """Whether any request is under way."""
        return bool(self._busy)

    def give(self, connection: Connection) -> None:
        """The connection's exchange ended cleanly."""
        now = time.monotonic()
        with self._lock:
            self._drop(connection)
            self._pool.give(connection.session.pool_key, connection, now)
            if now < self._look_at:
                return
            self._look_at = now + LOOK_EVERY
            expired = self._pool.expired(now)
        for old in expired:
            old.close()

    def closed(self, connection: Connection) -> None:
        """The connection is closed."""
        with self._lock:
            self._drop(connection)

    def forked(self) -> None:
        """This is a child process: its parent's sockets are its parent's, and two
        processes on one connection would read each other's responses."""
        self._lock = threading.Lock()
        self._endings = Endings()
        self._later = Later(self._cut)
        self._busy.clear()
        for connection in self._pool.clear():
            connection.sock.close()

    def _take(self, session: Session) -> Connection | None:
        while True:
            with self._lock:
                connection = self._pool.take(session.pool_key, time.monotonic())
                if connection is not None:
                    self._busy[session.epoch].add(connection)
            if connection is None:
                return None
            # Readable while idle: closed by the session, or bytes nobody asked for.
            if not connection.readable():
                return connection
            connection.close()

    def _drop(self, connection: Connection) -> None:
        epoch = connection.session.epoch
        busy = self._busy.get(epoch)
        if busy is not None:
            busy.discard(connection)
            if not busy:
                del self._busy[epoch]

    def _connect(self, session: Session) -> Connection:
        origin = session.origin
        timeout = self.timeouts.connect
        last_moment = time.monotonic() + timeout
        sock: socket.socket | None = None
        try:
            if origin.scheme == "unix":
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(timeout)
                sock.connect(origin.host)
            else:
                sock = self._reach(origin, last_moment)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                context = self._ssl_context or default_context()
                sock.settimeout(_left(last_moment))
                # An end without TLS's own closure is no end (RFC 9112 §9.8).
                sock = context.wrap_socket(
                    sock, server_hostname=origin.host, suppress_ragged_eofs=False
                )
        except TimeoutError as error:
            _close(sock)
            raise ConnectTimeout(
                f"no connection to {session.upstream} in {timeout} s"
            ) from error
        except (OSError, UnicodeError) as error:
            _close(sock)
            raise ConnectFailed(f"{session.upstream}: {error}") from error
        connection = Connection(self, session, sock)
        with self._lock:
            self._busy[session.epoch].add(connection)
        if session.epoch in self._endings:
            connection.close()
            raise SessionNotFound("ended while connecting")
        return connection

    def _reach(self, origin: Origin, last_moment: float) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, address in resolve(origin, self._networks):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left(last_moment))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure or OSError("no address")


def _left(last_moment: float) -> float:
    """Seconds; a time-out of none would mean not to wait at all."""
    return max(0.001, last_moment - time.monotonic())


def _nothing() -> None:
    return


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


_TRANSPORTS: WeakSet[HTTP11Transport] = WeakSet()


def _after_fork() -> None:
    for transport in list(_TRANSPORTS):
        transport.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
