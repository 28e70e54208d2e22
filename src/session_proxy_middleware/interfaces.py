"""What a host may provide. Each is a Protocol: any object that fits will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from .models import Headers, Key, Outbound, Principal, Request, Service, Session

Authenticator = Callable[[Request], Principal | Awaitable[Principal]]
"""Who is calling. Sync or async; raise `Unauthenticated` to answer 401,
`Forbidden` for 403, `StoreUnavailable` (or any OSError) for 503. Any other
exception is a bug in the hook: 500, with a traceback in the log.

Under ASGI a sync hook runs in a worker thread, so it may block; under WSGI an
async one runs on an event loop of its own. Both bridges are asgiref's.
"""


UNKNOWN: Any = object()
"""What is not known at once: it takes a look-up that may wait."""


class Services(Protocol):
    """The services a store knows."""

    def lookup(self, name: str, /) -> Service | None: ...
    async def alookup(self, name: str, /) -> Service | None: ...


class Sessions(Protocol):
    """The sessions a store knows. A session that has ended is not found."""

    def lookup(self, service: str, id: str, /) -> Session | None: ...
    async def alookup(self, service: str, id: str, /) -> Session | None: ...


class Keys(Protocol):
    """The keys a store knows, by the SHA-256 of their secret.

    A key that is revoked, expired or not valid yet is not found.
    """

    def lookup(self, digest: bytes, /) -> Key | None: ...
    async def alookup(self, digest: bytes, /) -> Key | None: ...


class Store(Protocol):
    """Where services, sessions and keys are looked up.

    A store may have an attribute `immediate`, true where a look-up is a matter of
    microseconds and never waits: the flow then calls `lookup` itself.
    """

    @property
    def services(self) -> Services: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def keys(self) -> Keys: ...


class AsyncUpload(Protocol):
    """The body of a request, as a driver hands it to a transport.

    `read` gives the next bytes, possibly none; `ended` is true from the moment the
    last bytes were given.

    Raises (from `read`): `ClientDisconnected`, `BodyTooLarge`, and `InternalError`
    where the body is not as long as was declared.
    """

    @property
    def ended(self) -> bool: ...
    async def read(self) -> bytes: ...


class Upload(Protocol):
    """`AsyncUpload` without await."""

    @property
    def ended(self) -> bool: ...
    def read(self) -> bytes: ...


class Departure(Protocol):
    """Where the server shows the client's connection under WSGI.

    `fileno` is its descriptor, or None where there is only `gone` to ask;
    `gone` tells whether the client has closed it.
    """

    def fileno(self) -> int | None: ...
    def gone(self) -> bool: ...


class AsyncResponse(Protocol):
    """A session's response: the head is there, the body comes.

    `complete` is true once the body's last byte has come, and `pieces` holds what of
    it nobody has taken. `read` gives what is there, or waits for more; none at the
    end. `aclose` may be called at any time and breaks off what is under way.

    Raises (from `read`): `ResponseTruncated`, and whatever `upload.read` raises
    where an upload is still under way.
    """

    status: int
    headers: Headers
    complete: bool
    pieces: list[bytes]

    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Response(Protocol):
    """`AsyncResponse` without await."""

    status: int
    headers: Headers
    complete: bool
    pieces: list[bytes]

    def read(self) -> bytes: ...
    def close(self) -> None: ...


@runtime_checkable
class AsyncTransport(Protocol):
    """One round trip to a session, for the ASGI driver.

    `asend` returns when the head of the response is there. The body is asked for
    only after the connection stands. A request reaches the session at most once
    unless it is safe (RFC 9110 §9.2.1) and has no body.

    Raises: the `ProxyError` of the case (`ConnectFailed`, `ConnectTimeout`,
    `UpstreamUnreachable`, `UpstreamProtocolError`, `UpstreamTimeout`,
    `RequestTimeout`), and whatever `upload.read` raises. Cancelling it closes the
    connection.
    """

    async def asend(
        self, outbound: Outbound, upload: AsyncUpload | None
    ) -> AsyncResponse: ...
    async def aclose(self) -> None: ...


@runtime_checkable
class Transport(Protocol):
    """`AsyncTransport` without await, for the WSGI driver.

    `departure` is where the client's connection can be seen, or None.

    Raises: also `ClientDisconnected`, where `departure` shows that.
    """

    def send(
        self,
        outbound: Outbound,
        upload: Upload | None,
        departure: Departure | None = None,
    ) -> Response: ...
    def close(self) -> None: ...
