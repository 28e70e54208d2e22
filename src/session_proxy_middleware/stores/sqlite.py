"""A store in one SQLite file: for several processes on one machine.

WAL: readers never wait for a writer. Every write is a transaction of its own that
takes the lock at once (`BEGIN IMMEDIATE`), so that two writers wait for each other
and neither fails half-way.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar
from weakref import WeakSet, finalize

from ..errors import ConfigError, StoreUnavailable
from .managed import ManagedStore
from .sqlite_backend import SQLite
from .sqlite_schema import prepare

T = TypeVar("T")

BUSY = 2.0
"""Seconds to wait for another writer."""


class SQLiteStore(ManagedStore):
    """A `Store` in a file, shared by all processes that open it.

    Nothing is opened before it is used, and a forked child opens the file anew.

    Raises:
        ConfigError: `path` names no file. SQLite's `:memory:` would be another
            database for every connection.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        if not isinstance(name, str) or not name or name.startswith(":memory:"):
            raise ConfigError(f"a SQLite store needs a file, not {path!r}")
        self.path = os.path.abspath(name)
        self._file = File(self.path)
        super().__init__(SQLite(self._file.operation))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._file.close()

    async def aclose(self) -> None:
        """The same: event loops have no connections of their own."""
        self._file.close()


class File:
    """The connections to a file. One serves one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._finalizer = finalize(self, _close, self._idle)
        _FILES.add(self)

    def operation(
        self, work: Callable[[sqlite3.Connection], T], *, writes: bool
    ) -> FileOperation[T]:
        """Something to do with a connection, within a transaction if it writes."""
        return FileOperation(self, work, writes)

    def perform(self, work: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        """Do it. Raises `StoreUnavailable`."""
        try:
            connection = self._take()
            try:
                if writes:
                    connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                if writes:
                    connection.execute("COMMIT")
            except BaseException:
                # A connection that failed is not used again: what state it is in,
                # and whether its file is still the one of that name, is unknown.
                connection.close()
                raise
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        self._idle.append(connection)
        return result

    def close(self) -> None:
        """Close the idle connections."""
        _close(self._idle)

    def forked(self) -> None:
        """This is a child process. SQLite forbids it to use, or even to close, what
        its parent opened (https://sqlite.org/howtocorrupt.html, section 2.6)."""
        _ABANDONED.extend(self._idle)
        self._idle.clear()

    def _take(self) -> sqlite3.Connection:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = sqlite3.connect(
                self._path, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            # NORMAL with WAL: a crash of the machine may cost the latest writes, a
            # crash of a process none, and neither the file.
            connection.execute("PRAGMA synchronous=NORMAL")
        try:
            # Every time: another process may have brought the file to a newer schema.
            prepare(connection, BUSY)
        except BaseException:
            connection.close()
            raise
        return connection


class FileOperation(Generic[T]):
    """An `Operation` on a file. Awaited, it runs in a thread."""

    __slots__ = ("_file", "_work", "_writes")

    def __init__(
        self, file: File, work: Callable[[sqlite3.Connection], T], writes: bool
    ) -> None:
        self._file = file
        self._work = work
        self._writes = writes

    def run(self) -> T:
        """Do it here."""
        return self._file.perform(self._work, self._writes)

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, self.run).__await__()


def _close(connections: deque[sqlite3.Connection]) -> None:
    while True:
        try:
            connections.pop().close()
        except IndexError:
            return


_FILES: WeakSet[File] = WeakSet()
_ABANDONED: list[sqlite3.Connection] = []


def _after_fork() -> None:
    for file in list(_FILES):
        file.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
