"""The keys of a store: what is checked before, whichever backend keeps them.

A key is `pk_<id>_<secret>`, 256 random bits behind its id. Its SHA-256 is kept and
its id in clear; the secret itself is shown once. So much randomness needs no slow
hash: there is no guessing it.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import compress

from ..interfaces import Backend
from ..models import KEY_OVERLAP, Key
from ..rules import life
from .new_keys import checked_overlap, new_key, shown_once, successor
from .sessions import checked_limit
from .watching import Watchers

_NOBODY = bytes(32)


Page = list[Key]
"""Inside the class `list` is its method."""


class Keys:
    """The keys: `create`, `lookup`, `find`, `rotate`, `revoke`, `list`, `restore`.

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
            ConfigError: an option is not valid.
            SecretTaken: it is the secret of another key.
        """
        new = new_key(services, methods, paths, secret, not_before, expires_at)
        shown = shown_once(new, self._backend.put_key(new.key).run())
        self._watchers.tell("key", shown.id)
        return shown

    def lookup(self, digest: bytes, /) -> Key | None:
        """The key with this SHA-256, if it may be used now."""
        return checked_key(digest, self._backend.find_key(digest).run())

    def find(self, id: str) -> Key | None:
        """The key of this id, whether it may be used now or not."""
        return self._backend.key_of(id).run()

    def rotate(self, id: str, *, overlap: float = KEY_OVERLAP) -> Key | None:
        """A new key of the same scopes, its secret shown once; the old one is good
        for `overlap` seconds more. None when the old one is not known.

        Raises:
            ConfigError: `overlap` is no number of seconds.
        """
        expiring = partial(life.expiring, at=time.time() + checked_overlap(overlap))
        old = self._backend.key_of(id).run()
        if old is None:
            return None
        # The new one first: a failure in between leaves one key too many, not none.
        new = successor(old)
        shown = shown_once(new, self._backend.put_key(new.key).run())
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

    def restore(self, keys: Sequence[Key]) -> int:
        """Put back what was exported, in one step; how many that were. One whose id or
        digest is there already is left as it is."""
        return self._told(keys, self._backend.restore_keys(keys).run())

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
        new = new_key(services, methods, paths, secret, not_before, expires_at)
        shown = shown_once(new, await self._backend.put_key(new.key))
        self._watchers.tell("key", shown.id)
        return shown

    async def alookup(self, digest: bytes, /) -> Key | None:
        """`lookup`, awaitable."""
        return checked_key(digest, await self._backend.find_key(digest))

    async def afind(self, id: str) -> Key | None:
        """`find`, awaitable."""
        return await self._backend.key_of(id)

    async def arotate(self, id: str, *, overlap: float = KEY_OVERLAP) -> Key | None:
        """`rotate`, awaitable."""
        expiring = partial(life.expiring, at=time.time() + checked_overlap(overlap))
        old = await self._backend.key_of(id)
        if old is None:
            return None
        new = successor(old)
        shown = shown_once(new, await self._backend.put_key(new.key))
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

    async def arestore(self, keys: Sequence[Key]) -> int:
        """`restore`, awaitable."""
        return self._told(keys, await self._backend.restore_keys(keys))

    async def anote(self, used_at: Mapping[str, float]) -> None:
        """`note`, awaitable."""
        await self._backend.note_keys(used_at)

    def _told(self, keys: Sequence[Key], put: Sequence[bool]) -> int:
        for key in compress(keys, put):
            self._watchers.tell("key", key.id)
        return sum(put)


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
