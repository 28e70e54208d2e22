"""The client's side of a request under WSGI: its body, and whether it is still
there, where the server gives a way to look."""

from __future__ import annotations

import io
import logging
import select
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import IO, Any

from werkzeug.exceptions import ClientDisconnected as WerkzeugClientDisconnected
from werkzeug.wsgi import get_input_stream

from .activity import Activity
from .errors import (
    ClientDisconnected,
    MalformedHeaders,
    RequestTimeout,
)
from .exchange import RoundTrip
from .interfaces import Departure
from .models import Ending, Session
from .rules.body import BodyMeter
from .upstream.waiting import look

log = logging.getLogger("session_proxy")

PIECE = 65_536
"""Bytes read from `wsgi.input` at a time. Many servers wait until there are so many,
so more would hold a slow upload back, and less cost calls."""


class Client:
    """An `Upload`, and a `Departure` where there is one."""

    # Defaults of the class: most requests end before anything of it changes.
    ended = True
    departure: Departure | None = None
    _sock: socket.socket | None = None
    _session: Session | None = None
    _stream: Any = None
    _meter: BodyMeter | None = None
    _left: int | None = None
    _restore: tuple[socket.socket, float | None] | None = None

    def __init__(
        self, environ: Mapping[str, Any], activity: Activity | None = None
    ) -> None:
        self._environ = environ
        self._activity = activity
        # The client's connection as gunicorn and werkzeug show it. TLS hides the end
        # of the stream from a peek, so such a connection is not looked at.
        sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        if isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket):
            self._sock = sock
            self.departure = SocketDeparture(sock)
        elif callable(environ.get("waitress.client_disconnected")):
            self.departure = AskedDeparture(environ["waitress.client_disconnected"])

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return self._meter.received if self._meter is not None else 0

    def begin(self, step: RoundTrip, idle: float) -> None:
        """The body is about to be asked for. `idle`: seconds that the client may be
        silent, where the server shows its socket.

        Raises:
            MalformedHeaders: the server does not say where a chunked body ends. It may
                never have taken the body for a chunked one: in an environ,
                `Transfer_Encoding` has the name of the real one.
        """
        self._session = step.outbound.session
        if not step.outbound.has_body:
            return
        length = step.outbound.length
        if length is None and not self._environ.get("wsgi.input_terminated"):
            log.warning(
                "a chunked body is refused: this WSGI server gives it no end "
                "(wsgi.input_terminated)"
            )
            raise MalformedHeaders("a chunked body without an end")
        self.ended = False
        self._meter = step.meter
        self._left = length
        self._stream = body_stream(self._environ)
        self.guard(idle)

    def guard(self, idle: float) -> None:
        """From now on, a client that is silent, or takes nothing, for `idle` seconds
        fails with a time-out, where the server shows its socket."""
        if self._sock is not None and self._restore is None:
            self._restore = (self._sock, self._sock.gettimeout())
            self._sock.settimeout(idle)

    def read(self) -> bytes:
        """See `Upload.read`."""
        wanted = PIECE if self._left is None else min(PIECE, self._left)
        try:
            data: bytes = self._stream.read(wanted)
        except TimeoutError as error:
            raise RequestTimeout("the client stopped sending") from error
        except WerkzeugClientDisconnected as error:
            if isinstance(error.__context__, TimeoutError):
                raise RequestTimeout("the client stopped sending") from error
            raise ClientDisconnected("in the middle of its upload") from error
        except Exception as error:
            # Each server has its own for a broken connection and for bad chunks.
            if self.departure is None or self.departure.gone():
                raise ClientDisconnected("in the middle of its upload") from error
            raise MalformedHeaders(f"a malformed body: {error!r}") from error
        ended = not data
        if self._left is not None:
            self._left -= len(data)
            if not data and (self.received or self._gone()):
                raise ClientDisconnected("in the middle of its upload")
            ended = ended or self._left <= 0
        if self._meter is not None:
            self._meter.count(data, ended)
        self.ended = ended
        self.flowed()
        return data

    def _gone(self) -> bool:
        if self.departure is not None:
            return self.departure.gone()
        # cheroot's input knows how much it still waits for: nothing of a body that
        # something else has read.
        return bool(getattr(self._environ["wsgi.input"], "remaining", 0))

    def departed(self, total: float) -> Ending:
        """What is known of a request whose client left before its reply. `total`:
        seconds since it began."""
        return Ending("client_disconnected", self.received, 0, None, total)

    def flowed(self) -> None:
        """Bytes have flowed: the session is in use."""
        activity, session = self._activity, self._session
        if activity is not None and session is not None:
            activity.note(session)

    def close(self) -> None:
        """The request is over: the server gets its socket back as it was."""
        if self._restore is not None:
            sock, timeout = self._restore
            self._restore = None
            sock.settimeout(timeout)


def body_stream(environ: Mapping[str, Any], limit: int | None = None) -> IO[bytes]:
    """The body of a request, to be read to its end. Over `limit` bytes werkzeug refuses
    it."""
    stream = environ["wsgi.input"]
    if "werkzeug.socket" in environ and isinstance(stream, io.RawIOBase):
        # That of werkzeug's server says of a chunk that breaks off that it has read all
        # of it; its `read` believes that, and gives as much of the process's memory
        # (CPython's gh-140607).
        stream = io.BufferedReader(stream, PIECE)
    return get_input_stream({**environ, "wsgi.input": stream}, max_content_length=limit)


class SocketDeparture:
    """A `Departure` seen on the client's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int | None:
        """The descriptor to wait on."""
        descriptor = self._sock.fileno()
        return descriptor if descriptor >= 0 else None

    def gone(self) -> bool:
        """Whether the client has closed or reset it. Takes no bytes off it."""
        descriptor = self.fileno()
        if descriptor is None:
            return True
        if not look(descriptor, select.POLLIN):
            return False
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True


class AskedDeparture:
    """A `Departure` where the server has a function to ask (waitress)."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    def fileno(self) -> int | None:
        """There is nothing to wait on."""
        return None

    def gone(self) -> bool:
        """Whether the client has closed its connection."""
        return bool(self._ask())
