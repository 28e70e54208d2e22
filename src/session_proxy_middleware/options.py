"""Options as frozen values. A wrong one fails when it is built."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from .errors import METHODS, ConfigError

LONGEST = 31_622_400.0
"""Seconds: a year. Not every clock can wait longer."""


def seconds(option: str, value: float) -> float:
    """The value of an option that is a time and may be 0, checked.

    Raises:
        ConfigError: it is no number from 0 up to a year.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= LONGEST:
        raise ConfigError(
            f"{option} must be seconds from 0 up to a year, not {value!r}"
        )
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    - `connect`: until a connection to the session stands, TLS included.
    - `response`: from the last byte of the request until the head of the response.
    - `idle`: between two bytes, in either direction, while a body is under way.
    - `total`: for the whole request; None for no bound.

    Raises:
        ConfigError: a value is not a positive number, of a year at most.
    """

    connect: float = 3.0
    response: float = 60.0
    idle: float = 300.0
    total: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None and item.name == "total":
                continue
            positive = (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and 0 < value <= LONGEST
            )
            if not positive:
                also = ", or None" if item.name == "total" else ""
                raise ConfigError(
                    f"Timeouts({item.name}=...) must be a positive number of "
                    f"seconds{also}, not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """For how many seconds this process relies on what a store said; 0 for never. A
    change made elsewhere is seen after that time, one made here at once.

    - `found`, `absent`: a service or session that is there, or is not.
    - `keys`: a key; so long is one accepted that was revoked elsewhere.
    - `entries`: how many answers of each kind are kept.

    A store in this process's memory is not cached.

    Raises:
        ConfigError: a value is not a finite number from 0 up.
    """

    found: float = 1.0
    absent: float = 0.5
    keys: float = 5.0
    entries: int = 20_000

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            count = item.name == "entries"
            number = isinstance(value, int if count else int | float)
            if (
                not number
                or isinstance(value, bool)
                or not math.isfinite(value)
                or value < (1 if count else 0)
            ):
                allowed = "whole number from 1 up" if count else "number from 0 up"
                raise ConfigError(
                    f"Caching({item.name}=...) must be a {allowed}, not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is let through at once, per process.

    - `per_session`, `per_key`, `total`: requests in flight, held until the last
      byte of the response; None for no bound.
    - `body`: bytes of a request's body; None for no bound.
    - `header_fields`, `header_bytes`: of a request's head, names and values.

    Raises:
        ConfigError: a value is not a positive whole number.
    """

    per_session: int | None = 100
    per_key: int | None = None
    total: int | None = 10_000
    body: int | None = None
    header_fields: int = 200
    header_bytes: int = 65_536

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            optional = not item.name.startswith("header_")
            if value is None and optional:
                continue
            lowest = 0 if item.name == "body" else 1
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or value < lowest:
                also = ", or None for no limit" if optional else ""
                raise ConfigError(
                    f"Limits({item.name}=...) must be a whole number from {lowest} "
                    f"up{also}, not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSockets:
    """WebSocket sessions, under ASGI.

    - `allowed_origins`: pages of which origins, beside the portal's own, may open one
      with what a browser sends by itself; written like `https://app.example`. Asked
      only where an `authenticate` hook decides: a key is no such thing.
    - `max_message`: bytes of one message, either way.
    - `ping_interval`: seconds of a session's silence after which it is asked whether
      it is there, and after which again it counts as lost; None for never.
    - `compression`: whether permessage-deflate is offered to sessions. What the client
      is offered is its server's to say.

    Raises:
        ConfigError: a value is not one of these.
    """

    allowed_origins: Sequence[str] = ()
    max_message: int = 16 * 1024 * 1024
    ping_interval: float | None = 20.0
    compression: bool = False
    origins: frozenset[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape, example = _CORS_LISTS["allow_origins"]
        value = self.allowed_origins
        if not isinstance(value, list | tuple | set | frozenset) or not all(
            isinstance(each, str)
            and re.fullmatch(shape, each)
            # "*" would be all the world; and browsers leave the default port out.
            and each != "*"
            and not _DEFAULT_PORT.search(each)
            for each in value
        ):
            raise ConfigError(
                f"WebSockets(allowed_origins=...) must be a list like [{example}], "
                f"not {value!r}"
            )
        origins = frozenset(each.encode("ascii") for each in value)
        object.__setattr__(self, "origins", origins)
        whole = isinstance(self.max_message, int) and not isinstance(
            self.max_message, bool
        )
        if not whole or self.max_message < 1:
            raise ConfigError(
                "WebSockets(max_message=...) must be a whole number of bytes from 1 "
                f"up, not {self.max_message!r}"
            )
        if self.ping_interval is not None and not seconds(
            "WebSockets(ping_interval=...)", self.ping_interval
        ):
            raise ConfigError(
                "WebSockets(ping_interval=...) must be more than 0, or None for never"
            )
        if not isinstance(self.compression, bool):
            raise ConfigError(
                "WebSockets(compression=...) must be True or False, "
                f"not {self.compression!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CORS:
    """Which pages of other origins may call sessions from a browser.

    - `allow_origins`: origins exactly as browsers write them, like
      `https://app.example` or `http://localhost:5173`; `*` alone for any.
    - `allow_methods`: of the seven.
    - `allow_headers`: request header names; `*` alone for whatever is asked.
    - `expose_headers`: response header names that a page may read beside
      `X-Request-Id` and `X-Session-Proxy-Error`; `*` for all.
    - `allow_credentials`: whether cookies go along; not with `*`.
    - `max_age`: seconds for which browsers remember a preflight.

    Raises:
        ConfigError: a value is not one of these.
    """

    allow_origins: Sequence[str]
    allow_methods: Sequence[str] = METHODS
    allow_headers: Sequence[str] = ("*",)
    expose_headers: Sequence[str] = ()
    allow_credentials: bool = False
    max_age: int = 600

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name, (shape, example) in _CORS_LISTS.items():
            value = getattr(self, name)
            listed = isinstance(value, list | tuple | set | frozenset)
            if not listed or not all(
                isinstance(each, str) and re.fullmatch(shape, each) for each in value
            ):
                raise ConfigError(
                    f"CORS({name}=...) must be a list like [{example}], not {value!r}"
                )
            put(self, name, tuple(value))
        if not self.allow_origins or not self.allow_methods:
            raise ConfigError("CORS needs at least one origin and one method")
        for name in ("allow_origins", "allow_headers"):
            if "*" in getattr(self, name) and len(getattr(self, name)) > 1:
                raise ConfigError(f"CORS({name}=...): '*' stands alone")
        for origin in self.allow_origins:
            if _DEFAULT_PORT.search(origin):
                raise ConfigError(
                    "CORS(allow_origins=...): browsers leave the default port out, "
                    f"so write {origin.rpartition(':')[0]!r}"
                )
        if not isinstance(self.allow_credentials, bool):
            raise ConfigError(
                "CORS(allow_credentials=...) must be True or False, "
                f"not {self.allow_credentials!r}"
            )
        # Fetch, "CORS protocol and credentials": with them "*" is a name like any
        # other, and to answer every origin would be to answer all the world.
        if self.allow_credentials and (
            "*" in self.allow_origins or "*" in self.expose_headers
        ):
            raise ConfigError(
                "CORS(allow_credentials=True) needs the origins and the exposed "
                "headers by name, not '*'"
            )
        whole = isinstance(self.max_age, int) and not isinstance(self.max_age, bool)
        if not whole or self.max_age < 0:
            raise ConfigError(
                "CORS(max_age=...) must be a whole number of seconds from 0 up, "
                f"not {self.max_age!r}"
            )


# RFC 6454 §6.2, in lower case as browsers write it. Not "null": that is every
# sandboxed page of anybody's.
_HOST = r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])"
_DEFAULT_PORT = re.compile(r"^(?:http:.*:80|https:.*:443)$")
_NAME = r"\*|[!#$%&'+\-.^_`|~0-9A-Za-z]+"
_CORS_LISTS = {
    "allow_origins": (
        rf"\*|[a-z][a-z0-9+.-]*://{_HOST}(?::[1-9][0-9]{{0,4}})?",
        "'https://app.example'",
    ),
    "allow_methods": ("|".join(METHODS), "'GET', 'POST'"),
    "allow_headers": (_NAME, "'Authorization', 'Content-Type'"),
    "expose_headers": (_NAME, "'X-Turn'"),
}
