"""What a host may provide. Each is a Protocol: any object that fits will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from .models import (
    Field,
    Key,
    Outbound,
    Principal,
    Request,
    Service,
    Session,
    State,
)

Result = TypeVar("Result", covariant=True)

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
    microseconds and never waits or fails: the flow then calls `lookup` itself. In
    front of any other the proxy remembers answers for a moment (see `Caching`).

    A store may have a method `watch(listener)` and tell the listener, as
    `listener(kind, value)`, what this process changes: `"service"` and a name,
    `"session"` and a `Session`, `"key"` and an id. It keeps the listener weakly.

    Its sessions may have methods `ended` and `aended`, which say of a list of sessions
    which ones have ended; without them each is looked up.
    """

    @property
    def services(self) -> Services: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def keys(self) -> Keys: ...


class Operation(Protocol[Result]):
    """Something a backend has yet to do: `run()` does it and blocks, `await` does it
    without blocking the event loop. It is done once, one way or the other.

    Raises: `StoreUnavailable`.
    """

    def run(self) -> Result: ...
    def __await__(self) -> Generator[Any, None, Result]: ...


class Backend(Protocol):
    """Where a store keeps things: what memory, SQLite and Redis each do in their own
    way. It checks nothing and knows no rule; names and values come checked.

    A change is a pure function from what is there to what is to be there, or to None
    for no change. A backend applies it as one step that nothing comes between.
    """

    def put_service(self, service: Service, /) -> Operation[None]: ...
    def find_service(self, name: str, /) -> Operation[Service | None]: ...
    def remove_service(self, name: str, /) -> Operation[bool]: ...
    def list_services(self) -> Operation[list[Service]]: ...
    def restore_services(self, services: Sequence[Service], /) -> Operation[list[bool]]:
        """Puts those that are not there, all in one step; which of them that were."""
        ...

    def put_session(self, session: Session, /) -> Operation[None]:
        """Replaces one of the same name, creates its service where there is none,
        and forgets some of those that ended long ago."""
        ...

    def find_session(self, service: str, id: str, /) -> Operation[Session | None]: ...
    def session_of(self, service: str, id: str, /) -> Operation[Session | None]:
        """With when it was last active."""
        ...

    def find_sessions(
        self, names: Sequence[tuple[str, str]], /
    ) -> Operation[list[Session | None]]:
        """Several at once, in the order they are asked for."""
        ...

    def change_session(
        self, service: str, id: str, change: Callable[[Session], Session | None], /
    ) -> Operation[Session | None]: ...
    def list_sessions(
        self,
        *,
        service: str | None,
        state: State | None,
        after: tuple[str, str],
        limit: int,
        now: float,
    ) -> Operation[list[Session]]:
        """In an order of its own, those after the one named `after`."""
        ...

    def restore_sessions(self, sessions: Sequence[Session], /) -> Operation[list[bool]]:
        """As `restore_services`; creates their services where there are none."""
        ...

    def note_sessions(
        self, active_at: Mapping[tuple[str, str], float], /
    ) -> Operation[None]: ...

    def put_key(self, key: Key, /) -> Operation[bool]:
        """False, and nothing done, when the digest or id is there already."""
        ...

    def find_key(self, digest: bytes, /) -> Operation[Key | None]: ...
    def key_of(self, id: str, /) -> Operation[Key | None]: ...
    def change_key(
        self, id: str, change: Callable[[Key], Key | None], /
    ) -> Operation[Key | None]: ...
    def remove_key(self, id: str, /) -> Operation[bool]: ...
    def list_keys(self, *, after: str, limit: int) -> Operation[list[Key]]: ...
    def restore_keys(self, keys: Sequence[Key], /) -> Operation[list[bool]]:
        """As `restore_services`."""
        ...

    def note_keys(self, used_at: Mapping[str, float], /) -> Operation[None]: ...


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
    complete: bool
    pieces: list[bytes]

    @property
    def headers(self) -> Sequence[Field]: ...
    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Response(Protocol):
    """`AsyncResponse` without await."""

    status: int
    complete: bool
    pieces: list[bytes]

    @property
    def headers(self) -> Sequence[Field]: ...
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
