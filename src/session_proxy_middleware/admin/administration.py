"""The admin API's options, checked once, and what both drivers need of them."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from .. import mounts
from ..errors import ConfigError
from ..stores import open_store
from ..stores.cache import Outage
from ..stores.managed import ManagedStore
from ..workers import Lonely
from .errors import Misplaced
from .holders import AdminKeys, Holders
from .openapi import OPERATIONS
from .routing import Routes

log = logging.getLogger("session_proxy")

_ROUTES = Routes(OPERATIONS)

AdminAuthenticator = Callable[[str], str | Awaitable[str | None] | None]
"""Whose bearer token is this: an id for the audit records, or None for nobody's. Sync
or async; may raise `Unauthenticated`, and `StoreUnavailable` (or any OSError) for 503.
"""


class Administration(mounts.Internal):
    """What `AdminAPI` is under ASGI and under WSGI alike.

    - `store`: a store of this package, or the URL of one; what the proxy looks into.
    - `keys`: the admin keys, as a mapping of ids to secrets or a list of secrets:
      tokens of at least 20 random characters, none of them a public key.
    - `authenticate`: instead of `keys`, who a bearer token belongs to (see
      `AdminAuthenticator`).

    Raises:
        ConfigError: an option is wrong, or nobody would be asked for a key; the text
            names what is allowed and never holds a secret.
    """

    def __init__(
        self,
        store: ManagedStore | str,
        *,
        keys: AdminKeys | None = None,
        authenticate: AdminAuthenticator | None = None,
    ) -> None:
        self.store = _checked_store(store)
        if (keys is None) == (authenticate is None):
            raise ConfigError(
                "the admin API needs keys=[...] or authenticate=..., one of the two: "
                "it is never open"
            )
        self.holders = None if keys is None else Holders(keys)
        if authenticate is not None and not callable(authenticate):
            raise ConfigError(
                f"authenticate must be a callable, not {type(authenticate).__name__}"
            )
        self.authenticate = self.bridge(authenticate or _nobody)
        self.routes = _ROUTES
        self.outage = Outage()
        self.lonely = Lonely(self.store)
        self._misplaced = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.store).__name__})"

    @staticmethod
    @abstractmethod
    def bridge(hook: AdminAuthenticator) -> Callable[[str], Any]:
        """What the driver calls instead of a hook that is sync or async."""

    def new_id(self) -> str:
        """A random UUID."""
        return str(uuid4())

    def reserved(self, secret: str) -> bool:
        """Whether a secret is an admin key's."""
        token = secret.encode("utf-8")
        return self.holders is not None and self.holders.holder(token) is not None

    def check_mount(self, mount: str) -> None:
        """Raises `Misplaced` for a path under the prefix of a `SessionProxy` of this
        process; the log is told once."""
        prefix = mounts.public_prefix(mount)
        if prefix is None:
            return
        if not self._misplaced:
            self._misplaced = True
            log.error(
                "the admin API is mounted at %s, under the public prefix %s of a "
                "SessionProxy, and answers nobody: mount it elsewhere",
                mount,
                prefix,
            )
        raise Misplaced


def _nobody(token: str) -> None:
    return None


def _checked_store(store: ManagedStore | str) -> ManagedStore:
    if isinstance(store, str):
        if store.startswith("memory:"):
            raise ConfigError(
                "store must be the proxy's own MemoryStore object: what memory:// "
                "opens here nobody else would see"
            )
        return open_store(store)
    if not isinstance(store, ManagedStore):
        raise ConfigError(
            "store must be a store of this package (MemoryStore(), open_store(...)) "
            f"or its URL, not {type(store).__name__}"
        )
    return store
