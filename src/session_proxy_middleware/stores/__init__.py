"""Where services, sessions and keys are kept."""

from __future__ import annotations

from ..errors import ConfigError
from ..interfaces import Store
from .memory import MemoryStore


def open_store(store: Store | str) -> Store:
    """The store itself, or the one that a URL names.

    Raises:
        ConfigError: no such store.
    """
    if isinstance(store, str):
        if store == "memory://":
            return MemoryStore()
        raise ConfigError(
            f"store must be a Store or the URL 'memory://', not {store!r}"
        )
    for part in ("services", "sessions", "keys"):
        if not callable(getattr(getattr(store, part, None), "alookup", None)):
            raise ConfigError(
                f"store must be a Store, like MemoryStore(): {store!r} has no "
                f"{part}.alookup"
            )
    return store
