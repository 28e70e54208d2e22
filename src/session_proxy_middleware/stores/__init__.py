"""Where services, sessions and keys are kept."""

from __future__ import annotations

from urllib.parse import unquote

from ..errors import ConfigError
from ..interfaces import Store
from .managed import ManagedStore
from .memory import MemoryStore
from .naming import shown
from .redis import RedisStore
from .sqlite import SQLiteStore

_REDIS = ("redis://", "rediss://", "unix://")


def open_store(url: str) -> ManagedStore:
    """The store that a URL names. Nothing is opened before it is used.

    - `memory://`: one process.
    - `sqlite:///path.db`, `sqlite:////absolute/path.db`: the processes of a machine.
    - `redis://`, `rediss://`, `unix://`: many machines (see `RedisStore`).

    Raises:
        ConfigError: no such store, or what it needs is not installed.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith("sqlite:///"):
        return SQLiteStore(unquote(url.removeprefix("sqlite:///")))
    if url.startswith(_REDIS):
        return RedisStore(url)
    raise ConfigError(
        "store must be a Store or a URL: 'memory://', 'sqlite:///path.db', "
        f"'redis://', 'rediss://' or 'unix://', not {shown(url)!r}"
    )


def checked_store(store: Store | str) -> Store:
    """The store itself, or the one that a URL names.

    Raises:
        ConfigError: it has not the shape of a store, or there is no such store.
    """
    if isinstance(store, str):
        return open_store(store)
    for part in ("services", "sessions", "keys"):
        if not callable(getattr(getattr(store, part, None), "alookup", None)):
            raise ConfigError(
                f"store must be a Store, like MemoryStore(): {store!r} has no "
                f"{part}.alookup"
            )
    return store
