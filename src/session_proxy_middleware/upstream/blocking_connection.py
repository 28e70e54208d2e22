"""One connection of the blocking transport, and the response on it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from types import MethodDescriptorType
from typing import NoReturn, Protocol

from ..draining import Drain
from ..errors import (
    SESSION_ENDED,
    ClientDisconnected,
    Draining,
    RequestTimeout,
    ResponseTruncated,
    SessionNotFound,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ..interfaces import Departure, Upload
from ..models import Outbound, Session
from ..options import Timeouts
from . import h1
from .waiting import READ, WRITE, own_poll, unconfirmed, wait

AT_ONCE = 0.02
"""Seconds that a session may take before its client is watched as well: most answer
sooner, and until then the call that receives is the wait."""

_AT_ONCE = struct.pack("@ll", 0, round(AT_ONCE * 1_000_000))  # A `struct timeval`.
RECEIVE_BUFFER = 131_072
"""Bytes. Buffers are taken while bytes are awaited and given back at once."""

_NEVER = float("inf")


class StaleConnection(Exception):
    """The connection ended before a byte of the response. `unsent` is the first piece
    of the body, where that was read and nothing at all was sent."""

    unsent: bytes | None = None


class Response(h1.Message):
    """A session's response on the way: a `Response` of `interfaces`."""

    error: ResponseTruncated | None = None
    """What broke it off, in the same bytes that held its head."""

    def __init__(self, connection: Connection) -> None:
        self.pieces = []
        self._connection = connection

    def read(self) -> bytes:
        """The bytes that are there, or the next that come; none at the end."""
        while not self.pieces:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            self._connection.advance(self)
        return self.take()

    def close(self) -> None:
        """Break off what is not complete."""
        self._connection.leave(self)


class Owner(Protocol):
    """What a connection asks of the transport that made it."""

    timeouts: Timeouts
    drain: Drain
    lingers: Callable[[], None]
    buffers: deque[memoryview]

    def give(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class Connection:
    """One connection to a session, and the exchange that is on it."""

    def __init__(self, transport: Owner, session: Session, sock: socket.socket) -> None:
        self.sock = sock
        self.session = session
        self._where = session.origin.url
        self._over = False
        self._lasts = False
        self._transport = transport
        self._reader = h1.ResponseReader()
        self._response: Response | None = None
        self._upload: Upload | None = None
        self._departure: Departure | None = None
        self._chunked = False
        self._unsent = b""
        self._eof = False
        self._used = self._uploaded = False
        self._last_moment = _NEVER
        self._poll: select.poll | None = None
        self._patient = _made_patient(sock)
        self._flags = socket.MSG_DONTWAIT if self._patient else 0

    def exchange(
        self,
        outbound: Outbound,
        head: bytes,
        upload: Upload | None,
        departure: Departure | None,
        first: bytes | None = None,
    ) -> Response:
        """Send the request and wait for the head of its response. `first` is the first
        piece of the body, where it has been read already."""
        response = self._response = Response(self)
        self._lasts = False
        self._reader.begin(response, outbound.method == b"HEAD")
        timeouts = self._transport.timeouts
        if timeouts.total is not None:
            self._last_moment = time.monotonic() + timeouts.total
        self._departure = departure
        self._uploaded = upload is not None
        try:
            if upload is None:
                self._send(head + h1.framing(outbound, outbound.length))
            else:
                self._send(head + self._begun(outbound, upload, first))
            if self._patient and not self._unsent and self._upload is None:
                self._receive(response)  # Most answer at once.
            deadline: float | None = None
            while not response.head:
                if deadline is None and not self._unsent and self._upload is None:
                    deadline = time.monotonic() + timeouts.response
                self._advance(response, deadline)
        except ResponseTruncated as truncated:
            self.leave(response)
            response.error = truncated
        except BaseException:
            self.leave(response)
            raise
        return response

    def _begun(self, outbound: Outbound, upload: Upload, first: bytes | None) -> bytes:
        """The end of the head, and the first piece of the body."""
        if first is None:
            data = upload.read()
            if self._used:
                self._check_idle(data)
        else:
            data = first
        length = outbound.length
        if upload.ended and length is None:
            length = len(data)  # All of it is here: its length is known.
        self._chunked = length is None
        begun = h1.framing(outbound, length) + self._encoded(data)
        if not upload.ended:
            self._upload = upload
        elif self._chunked:
            begun += h1.LAST_CHUNK
        return begun

    def _check_idle(self, first: bytes) -> None:
        """The client may have taken its time with the first piece, and the session
        may have closed the connection meanwhile: nothing has been sent on it yet."""
        if self.readable():
            stale = StaleConnection(f"{self._where} closed it while it was idle")
            stale.unsent = first
            raise stale

    def advance(self, response: Response) -> None:
        """One step: send what can be sent, receive what has come."""
        try:
            self._advance(response, None)
        except BaseException:
            self.leave(response)
            raise

    def _advance(self, response: Response, deadline: float | None) -> None:
        """`deadline` is for the head of the response; without one a step may take as
        long as `Timeouts.idle` allows."""
        if self._unsent:
            self._send(self._unsent)
            if not self._unsent:
                return
        elif self._upload is not None and not self.readable():
            # An answer that is already there goes before more of the upload.
            try:
                self._unsent = self._encoded(self._upload.read())
            except RequestTimeout:
                # The session may have answered while the client said nothing. Over TLS
                # what is readable may be no answer, but a ticket.
                if not self.readable() or not self._receive(response):
                    raise
                self._upload = None
                self._eof = True
            else:
                self._after_piece()
            return
        if self._transport.drain.over:
            self._broken_off(response)
        last = self._last_moment
        if deadline is not None and deadline < last:
            last = deadline
        if last < _NEVER and time.monotonic() >= last:
            # A session that never pauses does not put the end off.
            raise self._out_of_time(response)
        if self._unsent:
            if self._wait(READ | WRITE, response, last):
                self._receive(response)
        elif self._patient:
            # The call itself waits, `AT_ONCE` at most.
            if not self._receive(response) and self._wait(READ, response, last):
                self._receive(response)
        elif self._soon() or self._wait(READ, response, last):
            self._receive(response)

    def _encoded(self, data: bytes) -> bytes:
        return h1.chunk(data) if self._chunked and data else data

    def _after_piece(self) -> None:
        if self._upload is not None and self._upload.ended:
            self._upload = None
            if self._chunked:
                self._unsent += h1.LAST_CHUNK

    def _send(self, data: bytes) -> None:
        """What can be sent at once; the rest is `_unsent`."""
        try:
            sent = self.sock.send(data, self._flags)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except OSError:
            # The session may have answered before it hung up: read that first.
            sent = len(data)
            self._upload = None
            self._eof = True
        self._unsent = data[sent:]

    def _soon(self) -> bool:
        """Whether there is something to read at once."""
        sock = self.sock
        # TLS may have decrypted it already, and no poll shows that.
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        return buffered or bool(wait(sock, READ, timeout=AT_ONCE))

    def readable(self) -> bool:
        """Whether there is something to read now."""
        if self._poll is None:
            self._poll = own_poll()
            self._poll.register(self.sock, select.POLLIN)
        return bool(self._poll.poll(0))

    def _wait(self, events: int, response: Response, last: float) -> bool:
        """Until the socket is ready to be read, or `last`. False when it is only
        writable."""
        drain = self._transport.drain
        now = time.monotonic()
        limit = min(now + self._transport.timeouts.idle, last)
        self._transport.lingers()
        drain.watch(self.cut)
        try:
            ready = wait(
                self.sock, events, timeout=limit - now, departure=self._departure
            )
        finally:
            drain.unwatch(self.cut)
        if drain.over:
            self._broken_off(response)
        if ready:
            return bool(ready & READ)
        if self._departure is not None and self._departure.gone():
            raise ClientDisconnected("seen while waiting for the session")
        raise self._out_of_time(response)

    def _out_of_time(self, response: Response) -> Exception:
        if not response.head:
            return UpstreamTimeout(f"{self._where} has not answered")
        if time.monotonic() >= self._last_moment:
            return ResponseTruncated("total_timeout", "it takes too long in all")
        return ResponseTruncated("upstream_idle", "no byte in either direction")

    def cut(self) -> None:
        """Called from another thread: wakes the one that waits for the session."""
        # The plain socket's: that of TLS is not to be touched from here.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def end(self) -> None:
        """The session has ended: called from another thread. What it has said by then
        is still read, and then there is no more."""
        self._over = True
        self.cut()

    def lasts(self) -> bool:
        """Whether this was asked before of the request that is under way."""
        lasts, self._lasts = self._lasts, True
        return lasts

    def _broken_off(self, response: Response) -> NoReturn:
        if self._over:
            if response.head:
                raise ResponseTruncated(SESSION_ENDED, "its session has ended")
            raise SessionNotFound("ended while the request was under way")
        if response.head:
            raise ResponseTruncated(Draining.slug, "the proxy is shutting down")
        raise Draining("broken off: the proxy is shutting down")

    def _receive(self, response: Response) -> bool:
        """False where there was nothing yet."""
        buffers = self._transport.buffers
        try:
            buffer = buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(RECEIVE_BUFFER))
        try:
            received = self.sock.recv_into(buffer)
            if received:
                self._reader.feed(buffer[:received])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self._ended(response, str(error), clean=False)
            return True
        except h1.ProtocolViolation as violation:
            if response.head:
                raise ResponseTruncated(
                    "upstream_protocol", str(violation)
                ) from violation
            raise UpstreamProtocolError(str(violation)) from violation
        finally:
            buffers.append(buffer)
        if not received:
            self._ended(response, "end of stream", clean=True)
        elif response.complete:
            self._complete()
        return True

    def _ended(self, response: Response, how: str, *, clean: bool) -> None:
        if self._over:
            self._broken_off(response)
        detail = f"{self._where} closed the connection: {how}"
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
        self._response = self._departure = None
        self._used = True
        if (
            self._unsent
            or self._eof
            or self._over
            or self._upload is not None
            or not self._reader.reusable
            # What of the request is still to be taken may never be.
            or (self._uploaded and unconfirmed(self.sock))
        ):
            self.close()
        else:
            self._transport.give(self)

    def leave(self, response: Response) -> None:
        """Close the connection if `response` is still on it."""
        if self._response is response:
            self.close()

    def close(self) -> None:
        """Close the socket."""
        self._response = None
        self._upload = None
        self.sock.close()
        self._transport.closed(self)


def _made_patient(sock: socket.socket) -> bool:
    """Let the call that receives wait by itself, `AT_ONCE` at most: one call to the
    system instead of two. Not where the call is not the system's own (TLS, gevent),
    or the system has no such thing: the socket then never waits."""
    own = isinstance(type(sock).recv_into, MethodDescriptorType)
    if own and hasattr(socket, "SO_RCVTIMEO") and hasattr(socket, "MSG_DONTWAIT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _AT_ONCE)
            sock.setblocking(True)
            return True
    sock.setblocking(False)
    return False
