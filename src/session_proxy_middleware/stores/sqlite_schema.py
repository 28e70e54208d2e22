"""The tables of a SQLite store, and how an older file gets them.

`user_version` counts the steps that a file has taken. A file that has taken more than
this package knows is left alone.
"""

from __future__ import annotations

import sqlite3
import time

from ..errors import StoreUnavailable

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE services (
            name TEXT PRIMARY KEY,
            ready INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE sessions (
            service TEXT NOT NULL,
            id TEXT NOT NULL,
            upstream TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            state TEXT NOT NULL,
            ttl REAL NOT NULL,
            registered_at REAL NOT NULL,
            expires_at REAL NOT NULL,
            active_at REAL,
            PRIMARY KEY (service, id)
        ) WITHOUT ROWID""",
        "CREATE INDEX sessions_by_end ON sessions (expires_at)",
        """CREATE TABLE keys (
            digest BLOB PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            record TEXT NOT NULL,
            used_at REAL
        ) WITHOUT ROWID""",
    ),
)
"""Each step is applied as a whole or not at all. Add steps; never change one."""


def prepare(connection: sqlite3.Connection, patience: float) -> None:
    """Bring the file up to date, whichever process comes first.

    Raises:
        StoreUnavailable: the file is of a newer version of this package.
        sqlite3.Error: it is no database, or locked for longer than `patience`.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    _into_wal(connection, patience)
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)
    for step in MIGRATIONS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreUnavailable(
            f"the store has schema {version} and this version knows {len(MIGRATIONS)}: "
            "upgrade session-proxy-middleware"
        )
    return version


def _into_wal(connection: sqlite3.Connection, patience: float) -> None:
    """The one statement that SQLite's own waiting for locks does not cover."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
