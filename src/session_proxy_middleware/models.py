"""Values that cross layers. They hold what was decided; they decide nothing.

What is built at start-up is frozen; what is built once per request uses slots
alone, because a frozen dataclass costs twice as much to build.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Field = tuple[bytes, bytes]
"""One header field: lower-case name, value as received."""

Headers = list[Field]
"""Header fields in the order they came, duplicates kept."""

State = Literal["starting", "running", "draining", "ended"]
"""Where a session is in its life: only `running` takes requests at once."""

SESSION_TTL = 7200.0
"""Seconds that a session lives unless it is touched: Pipecat Cloud's default."""

KEY_OVERLAP = 86_400.0
"""Seconds that a key is still good after its successor was made."""

SHORTEST_SECRET = 20
"""Characters of a secret of one's own: at 6 bits each, 120 bits if it is random."""


class Block:
    """Header fields that many requests share, and how a codec encodes them: worked
    out once for all of them."""

    __slots__ = ("encoded", "fields")

    def __init__(self, fields: Headers) -> None:
        self.fields = fields
        self.encoded: bytes | None = None
        """For the codec to remember."""


class Findings:
    """What was worked out from a path alone, for all requests of that path."""

    __slots__ = ("mounted", "passage", "plain", "reserved")

    def __init__(self) -> None:
        self.plain: str | None = None
        """The session's path decoded, once it was found to be well-formed."""
        self.reserved = False
        """Whether only the platform may call it."""
        self.mounted: tuple[Session, Block] | None = None
        """The fields that tell that session who it is and where it is mounted."""
        self.passage: Any = None
        """How the last request of that path was let through, for the flow to know."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request wants to go, as read from its path. Requests of one path may
    share it."""

    service: str
    session_id: str | None
    """The canonical id, or None when it has not the shape of one."""
    target: bytes | None
    """The session's path as the client spelled it, from its first `/` on; None
    when the path has the route's shape only after decoding."""
    public: bytes
    """The public path of the session, without a trailing slash."""
    findings: Findings = field(default_factory=Findings, repr=False, compare=False)


@dataclass(slots=True)
class Request:
    """What the client asked, before any decision.

    An `Authenticator` reads it; `context` is the ASGI scope or the WSGI environ,
    for what the host's own middleware has put there.
    """

    method: str
    route: Route
    query: bytes | None = field(repr=False)
    """The query as sent, without its `?`; None when there is none."""
    headers: Headers = field(repr=False)
    client: str | None
    """The client's address as the server tells it."""
    scheme: str
    http_version: str
    context: Mapping[str, Any] = field(repr=False)
    id: bytes = b""
    websocket: bool = False
    """Whether it opens a WebSocket. Its `method` is then `WEBSOCKET`, which no request
    of HTTP can have, and its `headers` are without `Sec-WebSocket-*`."""

    def header(self, name: str) -> str | None:
        """The first value of a header field, or None. `name` in any case."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.headers:
            if key == wanted:
                return value.decode("latin-1")
        return None


def _names(option: str, values: Any) -> tuple[str, ...]:
    """A string is no list of names, though it can be searched like one: `"*"` is in
    `"bot-*"`, and would let everything through."""
    found = ("",) if isinstance(values, str | bytes) else tuple(values)
    if not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"{option} must be a list of names, not {values!r}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, and what they may use.

    `services` are names or globs (`*`, `bot-*`); `methods` and `paths` restrict
    within a session and None means no restriction. Of `methods`, `WEBSOCKET` opens
    WebSockets, which `GET` does not. A path scope `/status` admits
    `/status` and what lies below it, compared after decoding once.

    Raises:
        ValueError: a scope that is no list of names, or a path that is none.
    """

    id: str
    services: tuple[str, ...] = ("*",)
    methods: frozenset[str] | None = None
    paths: tuple[str, ...] | None = None
    restricted: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "services", _names("services", self.services))
        if self.methods is not None:
            put(self, "methods", frozenset(_names("methods", self.methods)))
        if self.paths is not None:
            put(self, "paths", _names("paths", self.paths))
            # "//" would be everything, and so would a path that is none.
            if not all(re.match("/(?!/)", path) for path in self.paths or ()):
                raise ValueError(f"paths must start with one '/', not {self.paths!r}")
        restricted = self.methods is not None or self.paths is not None
        put(self, "restricted", restricted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public API key. Only its SHA-256 is kept; `secret` is set once, on the
    value that `keys.create` returns. Times are seconds since the epoch."""

    id: str
    digest: bytes = field(repr=False)
    principal: Principal
    not_before: float | None = None
    expires_at: float | None = None
    created_at: float = 0.0
    used_at: float | None = None
    """When it last opened something, to within some seconds; only `list` and `find`
    say."""
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A named kind of session. One that is not ready answers `PCC-1001`."""

    name: str
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a connection goes: scheme `http`, `https` or `unix`, and the address."""

    scheme: str
    host: str
    """Host name or address without brackets; the socket's path for `unix`."""
    port: int
    authority: bytes
    """What the `Host` field says; the default port of the scheme is left out."""

    @property
    def url(self) -> str:
        """The origin as text, unique per address."""
        if self.scheme == "unix":
            return f"unix://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session and the address it listens on. Times are seconds since the epoch.

    `epoch` differs between any two registrations, so a connection made for one is
    never used for another (DESIGN section 6).
    """

    id: str
    service: str
    origin: Origin
    base_path: bytes
    epoch: int
    state: State = "running"
    ttl: float = SESSION_TTL
    """Seconds that it lives on from each touch."""
    registered_at: float = 0.0
    expires_at: float = math.inf
    """When it ends by itself; of one that has ended, when it did."""
    active_at: float | None = None
    """When bytes last flowed, to within some seconds; only `list` and `find` say."""
    name: str = field(init=False)
    """`service/id`: what limits and records count by."""
    pool_key: tuple[str, int] = field(init=False, repr=False)
    id_bytes: bytes = field(init=False, repr=False)
    host_field: Field = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "name", f"{self.service}/{self.id}")
        put(self, "pool_key", (self.origin.url, self.epoch))
        put(self, "id_bytes", self.id.encode("ascii"))
        put(self, "host_field", (b"host", self.origin.authority))

    @property
    def upstream(self) -> str:
        """The address as registered, base path included."""
        base = self.base_path.decode("ascii")
        if self.origin.scheme == "unix" and base:
            return f"{self.origin.url}:{base}"
        return self.origin.url + base


@dataclass(slots=True)
class Outbound:
    """The request as the session will get it: filtered, with our fields added.

    Framing is not among `headers`: `has_body` says whether a body follows and
    `length` how many bytes, None when that is not known beforehand.
    """

    session: Session
    method: bytes
    target: bytes
    blocks: tuple[Block, ...]
    request_id: bytes
    has_body: bool
    length: int | None

    @property
    def headers(self) -> Headers:
        """All fields, `host` first."""
        fields = [each for block in self.blocks for each in block.fields]
        return [*fields, (b"x-request-id", self.request_id)]


@dataclass
class Reply:
    """What the client gets. `body` is whole; None stands for the response of the
    round trip that came before, streamed. `refusal` is the error that this answers: for
    whoever explains it, never for the client. `ending` is for the driver to say, where
    it is to be `recorded`."""

    status: int
    headers: Headers
    body: bytes | None
    # Of the class until there is another: most replies set none of them.
    refusal: Exception | None = field(default=None, init=False, repr=False)
    recorded: bool = field(default=False, init=False, repr=False)
    ending: Ending | None = field(default=None, init=False, repr=False)


@dataclass(slots=True)
class Ending:
    """How a reply ended, told by the driver to the flow that waits for it.

    `reason` is one word: `completed`, `client_disconnected`, or the slug of what
    broke it off. Times are seconds from the start of the request; `headers_after`
    is None where there were none.
    """

    reason: str
    bytes_received: int
    bytes_sent: int
    headers_after: float | None
    total: float


@dataclass(slots=True)
class Relayed(Ending):
    """How a WebSocket ended that was accepted.

    Bytes are those of messages; received are the client's, sent the session's.
    `close_code` is what the side that closed it said, or what was said to both.
    """

    messages_received: int
    messages_sent: int
    close_code: int
