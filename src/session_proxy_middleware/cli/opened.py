"""The store that a command works on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..settings import store_url
from ..stores import open_store
from ..stores.managed import ManagedStore
from ..stores.sqlite import SQLiteStore
from .failure import Failure


def named(options: argparse.Namespace) -> ManagedStore:
    """The store that is named by a flag or in the environment; not opened yet.

    Raises:
        ConfigError: none is, or not a good one.
    """
    return open_store(store_url(vars(options), os.environ))


def missing(store: ManagedStore) -> str | None:
    """The path of a file that is not there yet."""
    absent = isinstance(store, SQLiteStore) and not os.path.exists(store.path)
    return store.path if absent and isinstance(store, SQLiteStore) else None


@contextmanager
def opened(options: argparse.Namespace, *, new: bool = False) -> Iterator[ManagedStore]:
    """The store, closed on the way out. `new`: it may be a file that is not there yet.

    Raises:
        Failure: it is not there. A misspelt path would else be an empty store.
    """
    store = named(options)
    path = missing(store)
    if path is not None and not new:
        raise Failure(
            f"there is no {path}: check the path; the first create, import or serve "
            "makes the file"
        )
    try:
        yield store
    finally:
        store.close()
