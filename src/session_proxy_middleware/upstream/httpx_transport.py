"""Any httpx or httpx2 transport behind the interface of this package's own.

Never a client: a client shares cookies between callers (GHSA-7vwr-g6pm-9hc8),
follows redirects and raises on a `Location` it does not like.

What a foreign transport can't promise, and what is done about it:

- httpcore keeps bytes that nobody asked for, so what follows one response could
  become the answer to the next request; and its pool knows addresses, not session
  epochs. So every HTTP/1.1 request says `Connection: close` and no connection is
  used twice. Over HTTP/2 the field is dropped by the transport and the connection
  is shared by all sessions that are ever registered on the address: give a
  transport with `http2=True` only to sessions whose addresses are not reused.
- The path is sent byte for byte by httpx's and httpx2's network transports (the
  `target` extension); one that goes by `request.url` alone, as a mock or an
  in-process application does, gets what httpx makes of it.
- The blocking kind cannot watch the client while it waits for the session, and an
  upload is sent whole before the response is read, unless the session hangs up.
  Nor does it bound what takes no single long pause: `Timeouts(total)`, a head that
  dribbles in, a flood of 1xx. Use this package's own transport for sessions that may
  be hostile.
- Names are resolved by the transport, where no address can be checked: with
  `allowed_networks` a session needs an address, and without it a name goes unchecked.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from ..errors import (
    ConfigError,
    ConnectFailed,
    ConnectTimeout,
    MalformedHeaders,
    MalformedPath,
    Overloaded,
    ProxyError,
    RequestTimeout,
    ResponseTruncated,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ..interfaces import AsyncUpload, Departure, Upload
from ..models import Field, Headers, Outbound
from ..options import Timeouts
from ..rules.headers import section_size
from ..rules.networks import Networks
from . import resolving
from .h1 import MAX_HEAD_BYTES, MAX_HEAD_FIELDS

_CLOSE: Field = (b"connection", b"close")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")

# Most specific first; the names are the same in httpx and httpx2.
_FAILURES: tuple[tuple[str, type[ProxyError]], ...] = (
    ("PoolTimeout", Overloaded),
    ("ConnectTimeout", ConnectTimeout),
    ("TimeoutException", UpstreamTimeout),
    ("ConnectError", ConnectFailed),
    ("ProxyError", ConnectFailed),
    ("UnsupportedProtocol", ConnectFailed),
    ("LocalProtocolError", MalformedHeaders),
    ("RemoteProtocolError", UpstreamProtocolError),
    ("TransportError", UpstreamUnreachable),
)


def library_of(transport: object) -> ModuleType | None:
    """httpx or httpx2, whichever the transport is of; None when of neither."""
    for kind in type(transport).__mro__:
        if kind.__name__ in ("BaseTransport", "AsyncBaseTransport"):
            return sys.modules[kind.__module__.partition(".")[0]]
    return None


def is_client(value: object) -> bool:
    """Whether this is an httpx client, which is no transport."""
    return any(
        kind.__name__ in ("Client", "AsyncClient")
        and kind.__module__.partition(".")[0] in ("httpx", "httpx2")
        for kind in type(value).__mro__
    )


class _Adapter:
    """What the async and the sync adapter share."""

    def __init__(
        self, transport: Any, timeouts: Timeouts | None, networks: Networks | None
    ) -> None:
        library = library_of(transport)
        if library is None:
            raise ConfigError(
                "transport must be a transport of httpx or httpx2, "
                f"not {type(transport).__name__}"
            )
        self.library = library
        self.transport = transport
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        self._networks = networks if networks is not None else Networks()
        self._goes_by_target = isinstance(
            transport, (library.HTTPTransport, library.AsyncHTTPTransport)
        )

    def request(self, outbound: Outbound, stream: Any) -> Any:
        """The request in the library's own type, its bytes as they are."""
        origin = outbound.session.origin
        if origin.scheme == "unix":
            raise ConnectFailed(
                "an httpx transport reaches no unix:// session: leave out transport="
            )
        if resolving.is_address(origin.host) or not self._networks.names_allowed:
            resolving.check(origin, self._networks)
        headers = [*outbound.headers, _CLOSE]
        if outbound.length is not None:
            headers.append((b"content-length", b"%d" % outbound.length))
        elif outbound.has_body:
            headers.append((b"transfer-encoding", b"chunked"))
        path = "/" if self._goes_by_target else outbound.target.decode("latin-1")
        try:
            url = self.library.URL(origin.url + path)
        except self.library.InvalidURL as error:
            raise MalformedPath(f"not a path for this transport: {error}") from error
        timeouts = self.timeouts
        return self.library.Request(
            outbound.method.decode("ascii"),
            url,
            headers=headers,
            stream=stream,
            extensions={
                "target": outbound.target,
                "timeout": {
                    "connect": timeouts.connect,
                    "pool": timeouts.connect,
                    "read": timeouts.response,
                    "write": timeouts.idle,
                },
            },
        )

    def received(self, response: Any, request: Any) -> tuple[int, Headers]:
        """Status and fields of a response; what remains is the body, between whose
        bytes another time is allowed."""
        request.extensions["timeout"]["read"] = self.timeouts.idle
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        if len(headers) > MAX_HEAD_FIELDS or section_size(headers) > MAX_HEAD_BYTES:
            raise UpstreamProtocolError("the head of the response is too large")
        for name, value in headers:
            if _NAME.fullmatch(name) is None or _CONTROL.search(value):
                raise UpstreamProtocolError("a malformed field in the response")
        lengths = [value for name, value in headers if name == b"content-length"]
        codings = [value for name, value in headers if name == b"transfer-encoding"]
        # RFC 9112 §6.3. h11 forgives a length beside a coding, and the length would
        # go on to the client: a false one. It knows no end of numbers, either: one over
        # 64 bits is a small one to some clients, who take the rest for a response.
        if (
            len(lengths) + len(codings) > 1
            or any(value.lower() != b"chunked" for value in codings)
            or any(_LENGTH.fullmatch(value) is None for value in lengths)
        ):
            raise UpstreamProtocolError("conflicting framing in the response")
        return response.status_code, headers

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Foreign exceptions stop here, before the head of the response."""
        try:
            yield
        except UnicodeError as error:  # A name that IDNA does not know.
            raise ConnectFailed(str(error)) from error
        except self.library.TransportError as error:
            ours: type[ProxyError] = next(
                ours
                for theirs, ours in _FAILURES
                if isinstance(error, getattr(self.library, theirs))
            )
            if "without sending a response" in str(error):
                ours = UpstreamUnreachable
            raise ours(str(error) or repr(error)) from error

    @contextlib.contextmanager
    def truncating(self, timeout: str = "upstream_idle") -> Iterator[None]:
        """And here, after it. `timeout`: the reason when time runs out."""
        try:
            yield
        except (self.library.TimeoutException, TimeoutError) as error:
            raise ResponseTruncated(timeout, repr(error)) from error
        except self.library.TransportError as error:
            raise ResponseTruncated("upstream_closed", repr(error)) from error


class AsyncHTTPXTransport(_Adapter):
    """An `AsyncTransport` over any async httpx transport.

    Raises:
        ConfigError: not an async transport of httpx or httpx2.
    """

    def __init__(
        self,
        transport: Any,
        *,
        timeouts: Timeouts | None = None,
        networks: Networks | None = None,
    ) -> None:
        super().__init__(transport, timeouts, networks)

        class Stream(self.library.AsyncByteStream):  # type: ignore[name-defined,misc]
            def __init__(self, pieces: AsyncIterator[bytes]) -> None:
                self._pieces = pieces

            def __aiter__(self) -> AsyncIterator[bytes]:
                return self._pieces

        self._stream = Stream

    async def asend(
        self, outbound: Outbound, upload: AsyncUpload | None
    ) -> AsyncHTTPXResponse:
        """See `AsyncTransport.asend`."""
        loop = asyncio.get_running_loop()
        timeouts = self.timeouts
        total = timeouts.total
        last_moment = loop.time() + total if total is not None else float("inf")
        allowed = timeouts.connect + timeouts.response
        bound = asyncio.timeout_at(min(last_moment, loop.time() + allowed))
        if upload is None:
            stream = self.library.ByteStream(b"")
        else:
            stream = self._stream(self._pieces(upload, bound, last_moment))
        request = self.request(outbound, stream)
        try:
            async with bound:
                with self.translated():
                    response = await self.transport.handle_async_request(request)
        except TimeoutError as error:
            raise UpstreamTimeout("no response in time") from error
        try:
            status, headers = self.received(response, request)
        except BaseException:
            await response.aclose()
            raise
        return AsyncHTTPXResponse(self, response, status, headers, last_moment)

    async def aclose(self) -> None:
        """Close the transport."""
        await self.transport.aclose()

    async def _pieces(
        self, upload: AsyncUpload, bound: asyncio.Timeout, last_moment: float
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        timeouts = self.timeouts
        while not upload.ended:
            # The session's time begins with the last byte of the request.
            stall = loop.time() + timeouts.idle
            bound.reschedule(min(last_moment, stall + timeouts.response))
            try:
                async with asyncio.timeout_at(stall):
                    data = await upload.read()
            except TimeoutError as error:
                raise RequestTimeout("the client stopped sending") from error
            if data:
                yield data
        bound.reschedule(min(last_moment, loop.time() + timeouts.response))


class AsyncHTTPXResponse:
    """An `AsyncResponse` over one of httpx's."""

    def __init__(
        self,
        adapter: AsyncHTTPXTransport,
        response: Any,
        status: int,
        headers: Headers,
        last_moment: float,
    ) -> None:
        self.status = status
        self.headers = headers
        self.complete = False
        self.pieces: list[bytes] = []
        self._adapter = adapter
        self._response = response
        self._pieces = aiter(response.stream)
        self._last_moment = last_moment

    async def read(self) -> bytes:
        """The next bytes, as they came over the wire; none at the end."""
        loop = asyncio.get_running_loop()
        idle = loop.time() + self._adapter.timeouts.idle
        last_moment = self._last_moment
        reason = "upstream_idle" if idle < last_moment else "total_timeout"
        with self._adapter.truncating(reason):
            async with asyncio.timeout_at(min(idle, last_moment)):
                async for data in self._pieces:
                    if data:
                        return bytes(data)
        self.complete = True
        await self.aclose()
        return b""

    async def aclose(self) -> None:
        """Break off what is not complete."""
        with contextlib.suppress(self._adapter.library.TransportError):
            await self._response.aclose()


class HTTPXTransport(_Adapter):
    """A `Transport` over any sync httpx transport.

    Raises:
        ConfigError: not a sync transport of httpx or httpx2.
    """

    def __init__(
        self,
        transport: Any,
        *,
        timeouts: Timeouts | None = None,
        networks: Networks | None = None,
    ) -> None:
        super().__init__(transport, timeouts, networks)

        class Stream(self.library.SyncByteStream):  # type: ignore[name-defined,misc]
            def __init__(self, upload: Upload) -> None:
                self._upload = upload

            def __iter__(self) -> Iterator[bytes]:
                while not self._upload.ended:
                    if data := self._upload.read():
                        yield data

        self._stream = Stream

    def send(
        self,
        outbound: Outbound,
        upload: Upload | None,
        departure: Departure | None = None,
    ) -> HTTPXResponse:
        """See `Transport.send`; `departure` can't be watched."""
        if upload is None:
            stream = self.library.ByteStream(b"")
        else:
            stream = self._stream(upload)
        request = self.request(outbound, stream)
        with self.translated():
            response = self.transport.handle_request(request)
        try:
            status, headers = self.received(response, request)
        except BaseException:
            response.close()
            raise
        return HTTPXResponse(self, response, status, headers)

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()


class HTTPXResponse:
    """A `Response` over one of httpx's."""

    def __init__(
        self, adapter: HTTPXTransport, response: Any, status: int, headers: Headers
    ) -> None:
        self.status = status
        self.headers = headers
        self.complete = False
        self.pieces: list[bytes] = []
        self._adapter = adapter
        self._response = response
        self._pieces = iter(response.stream)

    def read(self) -> bytes:
        """The next bytes, as they came over the wire; none at the end."""
        with self._adapter.truncating():
            for data in self._pieces:
                if data:
                    return bytes(data)
        self.complete = True
        self.close()
        return b""

    def close(self) -> None:
        """Break off what is not complete."""
        with contextlib.suppress(self._adapter.library.TransportError):
            self._response.close()
