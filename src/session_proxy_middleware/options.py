"""Options as frozen values. A wrong one fails when it is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    - `connect`: until a connection to the session stands, TLS included.
    - `response`: from the last byte of the request until the head of the response.
    - `idle`: between two bytes, in either direction, while a body is under way.
    - `total`: for the whole request; None for no bound.

    Raises:
        ConfigError: a value is not a positive, finite number.
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
                and math.isfinite(value)
                and value > 0
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
