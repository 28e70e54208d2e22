"""A key on its way into a store: its options checked, its secret made."""

from __future__ import annotations

import math
import re
import secrets
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..errors import METHODS, WEBSOCKET, ConfigError, SecretTaken
from ..models import SHORTEST_SECRET, Key, Principal
from ..rules.credential import digest

GRANTED = (*METHODS, WEBSOCKET)
"""What a key's `methods` may hold."""

ENOUGH = 32
"""Characters from which on nothing is said about it."""

_SECRET = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key on its way into the store, and what is shown of it once."""

    key: Key
    secret: str = field(repr=False)


def shown_once(new: NewKey, put: bool) -> Key:
    """The key with its secret, once it has been put.

    Raises:
        SecretTaken: it has not, because there is one of the same secret.
    """
    if not put:
        raise SecretTaken("secret is the secret of another key")
    return replace(new.key, secret=new.secret)


def new_key(
    services: Iterable[str],
    methods: Iterable[str] | None,
    paths: Iterable[str] | None,
    secret: str | None,
    not_before: float | None,
    expires_at: float | None,
) -> NewKey:
    """See `Keys.create`. Raises `ConfigError`."""
    checked_moment("not_before", not_before)
    checked_moment("expires_at", expires_at)
    id = secrets.token_hex(8)
    secret = _generated(id) if secret is None else chosen("secret", secret)
    key = Key(
        id=id,
        digest=digest(secret.encode("ascii")),
        principal=checked_principal(id, services, methods, paths),
        not_before=not_before,
        expires_at=expires_at,
        created_at=time.time(),
    )
    return NewKey(key, secret)


def successor(old: Key) -> NewKey:
    """A key of the same scopes and another secret."""
    id = secrets.token_hex(8)
    secret = _generated(id)
    key = replace(
        old,
        id=id,
        digest=digest(secret.encode("ascii")),
        principal=replace(old.principal, id=id),
        created_at=time.time(),
        used_at=None,
    )
    return NewKey(key, secret)


def _generated(id: str) -> str:
    return f"pk_{id}_{secrets.token_urlsafe(32)}"


def chosen(option: str, secret: str) -> str:
    """A secret that somebody has chosen; a short one with a warning.

    Raises:
        ConfigError: it is no token, or far too short. The text does not hold it.
    """
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise ConfigError(
            f"{option} must be a token of letters, digits and -._~+/ (RFC 6750)"
        )
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(
            f"{option} must have at least {SHORTEST_SECRET} random characters"
        )
    if len(secret) < ENOUGH:
        warnings.warn(
            f"a secret of {len(secret)} characters is short: {ENOUGH} random ones "
            "leave nothing to guess",
            stacklevel=4,
        )
    return secret


def checked_principal(
    id: str,
    services: Iterable[str],
    methods: Iterable[str] | None,
    paths: Iterable[str] | None,
) -> Principal:
    """Who a key of this id is, and what it may use.

    Raises:
        ConfigError: a scope is not valid.
    """
    try:
        return Principal(
            id=id,
            services=_texts("services", services),
            methods=_methods(methods),
            paths=None if paths is None else _texts("paths", paths),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def checked_overlap(seconds: float) -> float:
    """The time that an old key is still good for. Raises `ConfigError`."""
    number = isinstance(seconds, int | float) and math.isfinite(seconds)
    if not number or seconds < 0:
        raise ConfigError(f"overlap must be seconds from 0 up, not {seconds!r}")
    return seconds


def checked_moment(option: str, value: float | None) -> None:
    """Raises `ConfigError` for what is neither a time nor None."""
    number = isinstance(value, int | float) and math.isfinite(value)
    if value is not None and not number:
        raise ConfigError(f"{option} must be seconds since the epoch, not {value!r}")


def _texts(option: str, values: Iterable[str]) -> tuple[str, ...]:
    listed = isinstance(values, Iterable) and not isinstance(values, str)
    found = tuple(values) if listed else ()
    if not found or not all(isinstance(each, str) and each for each in found):
        raise ConfigError(f"{option} must be a list of names, not {values!r}")
    return found


def _methods(values: Iterable[str] | None) -> frozenset[str] | None:
    if values is None:
        return None
    found = frozenset(each.upper() for each in _texts("methods", values))
    if unknown := found - set(GRANTED):
        raise ConfigError(
            f"methods must be among {', '.join(GRANTED)}, not {sorted(unknown)}"
        )
    return found
