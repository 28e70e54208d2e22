"""The keys of a store: what is checked before, whichever backend keeps them.

A key is `pk_<id>_<secret>`, 256 random bits behind its id. Its SHA-256 is kept and
its id in clear; the secret itself is shown once. So much randomness needs no slow
hash: there is no guessing it.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..errors import METHODS, WEBSOCKET, ConfigError
from ..interfaces import Backend
from ..models import Key, Principal
from ..rules import life
from ..rules.credential import digest
from .sessions import checked_limit
from .watching import Watchers

OVERLAP = 86_400.0
"""Seconds that a key is still good after its successor was made."""

SHORTEST = 20
"""Characters of a secret of one's own: at 6 bits each, 120 bits if it is random."""

ENOUGH = 32
"""Characters from which on nothing is said about it."""

_SECRET = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_NOBODY = bytes(32)


Page = list[Key]
"""Inside the class `list` is its method."""


class Keys:
    """The keys: `create`, `lookup`, `find`, `rotate`, `revoke`, `list`.

    Raises (from every method): `StoreUnavailable`.
    """

    def __init__(self, backend: Backend, watchers: Watchers) -> None:
        self._backend = backend
        self._watchers = watchers

    def create(
        self,
        *,
        services: Iterable[str] = ("*",),
        methods: Iterable[str] | None = None,
        paths: Iterable[str] | None = None,
        secret: str | None = None,
        not_before: float | None = None,
        expires_at: float | None = None,
    ) -> Key:
        """A new key. `secret` of the returned value is shown here and never again.

        `services` are names or globs; `methods` and `paths` restrict further (see
        `Principal`); `not_before` and `expires_at` are seconds since the epoch. A
        `secret` of one's own must be random and have 20 characters; under 32 there
        is a warning.

        Raises:
            ConfigError: an option is not valid, or the secret is taken.
        """
        new = _new(services, methods, paths, secret, not_before, expires_at)
        shown = _shown(new, self._backend.put_key(new.key).run())
        self._watchers.tell("key", shown.id)
        return shown

    def lookup(self, digest: bytes, /) -> Key | None:
        """The key with this SHA-256, if it may be used now."""
        return checked_key(digest, self._backend.find_key(digest).run())

    def find(self, id: str) -> Key | None:
        """The key of this id, whether it may be used now or not."""
        return self._backend.key_of(id).run()

    def rotate(self, id: str, *, overlap: float = OVERLAP) -> Key | None:
        """A new key of the same scopes, its secret shown once; the old one is good
        for `overlap` seconds more. None when the old one is not known.

        Raises:
            ConfigError: `overlap` is no number of seconds.
        """
        expiring = partial(life.expiring, at=time.time() + _overlap(overlap))
        old = self._backend.key_of(id).run()
        if old is None:
            return None
        # The new one first: a failure in between leaves one key too many, not none.
        new = _successor(old)
        shown = _shown(new, self._backend.put_key(new.key).run())
        self._backend.change_key(id, expiring).run()
        self._watchers.tell("key", id)
        return shown

    def revoke(self, id: str) -> bool:
        """Refuse the key from now on. False when it was not known."""
        removed = self._backend.remove_key(id).run()
        self._watchers.tell("key", id)
        return removed

    def list(self, *, after: str = "", limit: int = 100) -> Page:
        """Keys in the order of their ids, `limit` of them at most; the next page
        comes `after` the `id` of the last."""
        return self._backend.list_keys(after=after, limit=checked_limit(limit)).run()

    def note(self, used_at: Mapping[str, float]) -> None:
        """The keys of these ids were used, at these times."""
        self._backend.note_keys(used_at).run()

    async def acreate(
        self,
        *,
        services: Iterable[str] = ("*",),
        methods: Iterable[str] | None = None,
        paths: Iterable[str] | None = None,
        secret: str | None = None,
        not_before: float | None = None,
        expires_at: float | None = None,
    ) -> Key:
        """`create`, awaitable."""
        new = _new(services, methods, paths, secret, not_before, expires_at)
        shown = _shown(new, await self._backend.put_key(new.key))
        self._watchers.tell("key", shown.id)
        return shown

    async def alookup(self, digest: bytes, /) -> Key | None:
        """`lookup`, awaitable."""
        return checked_key(digest, await self._backend.find_key(digest))

    async def afind(self, id: str) -> Key | None:
        """`find`, awaitable."""
        return await self._backend.key_of(id)

    async def arotate(self, id: str, *, overlap: float = OVERLAP) -> Key | None:
        """`rotate`, awaitable."""
        expiring = partial(life.expiring, at=time.time() + _overlap(overlap))
        old = await self._backend.key_of(id)
        if old is None:
            return None
        new = _successor(old)
        shown = _shown(new, await self._backend.put_key(new.key))
        await self._backend.change_key(id, expiring)
        self._watchers.tell("key", id)
        return shown

    async def arevoke(self, id: str) -> bool:
        """`revoke`, awaitable."""
        removed = await self._backend.remove_key(id)
        self._watchers.tell("key", id)
        return removed

    async def alist(self, *, after: str = "", limit: int = 100) -> Page:
        """`list`, awaitable."""
        return await self._backend.list_keys(after=after, limit=checked_limit(limit))

    async def anote(self, used_at: Mapping[str, float]) -> None:
        """`note`, awaitable."""
        await self._backend.note_keys(used_at)


def checked_key(digest: bytes, key: Key | None) -> Key | None:
    """What a store found for a digest, if it is that and may be used now.

    Compared in constant time, with a dummy where there is none, so that an unknown
    key takes as long as a known one (GHSA-95c6-p277-p87g).
    """
    same = hmac.compare_digest(digest, _NOBODY if key is None else key.digest)
    if key is None or not same:
        return None
    if key.expires_at is None and key.not_before is None:
        return key
    return key if life.usable(key, time.time()) else None


@dataclass(frozen=True, slots=True)
class _New:
    """A key on its way into the store, and what is shown of it once."""

    key: Key
    secret: str = field(repr=False)


def _shown(new: _New, put: bool) -> Key:
    if not put:
        raise ConfigError("secret is the secret of another key")
    return replace(new.key, secret=new.secret)


def _new(
    services: Iterable[str],
    methods: Iterable[str] | None,
    paths: Iterable[str] | None,
    secret: str | None,
    not_before: float | None,
    expires_at: float | None,
) -> _New:
    _moment("not_before", not_before)
    _moment("expires_at", expires_at)
    id = secrets.token_hex(8)
    secret = _generated(id) if secret is None else _chosen(secret)
    try:
        principal = Principal(
            id=id,
            services=_texts("services", services),
            methods=_methods(methods),
            paths=None if paths is None else _texts("paths", paths),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    key = Key(
        id=id,
        digest=digest(secret.encode("ascii")),
        principal=principal,
        not_before=not_before,
        expires_at=expires_at,
        created_at=time.time(),
    )
    return _New(key, secret)


def _successor(old: Key) -> _New:
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
    return _New(key, secret)


def _generated(id: str) -> str:
    return f"pk_{id}_{secrets.token_urlsafe(32)}"


def _chosen(secret: str) -> str:
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise ConfigError(
            "secret must be a token of letters, digits and -._~+/ (RFC 6750)"
        )
    if len(secret) < SHORTEST:
        raise ConfigError(f"secret must have at least {SHORTEST} random characters")
    if len(secret) < ENOUGH:
        warnings.warn(
            f"a secret of {len(secret)} characters is short: {ENOUGH} random ones "
            "leave nothing to guess",
            stacklevel=4,
        )
    return secret


def _overlap(seconds: float) -> float:
    number = isinstance(seconds, int | float) and math.isfinite(seconds)
    if not number or seconds < 0:
        raise ConfigError(f"overlap must be seconds from 0 up, not {seconds!r}")
    return seconds


def _moment(option: str, value: float | None) -> None:
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
    allowed = (*METHODS, WEBSOCKET)
    if unknown := found - set(allowed):
        raise ConfigError(
            f"methods must be among {', '.join(allowed)}, not {sorted(unknown)}"
        )
    return found
