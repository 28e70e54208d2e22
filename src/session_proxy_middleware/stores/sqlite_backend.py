"""What a SQLite store asks its file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from ..interfaces import Operation
from ..models import Key, Service, Session, State
from ..rules import life
from .records import key_of, key_record, session_of, session_record, text

T = TypeVar("T")
Connection = sqlite3.Connection

FORGOTTEN_AT_ONCE = 20
"""Old sessions deleted with each new one: never a long transaction."""

_COLUMNS = "service, id, upstream, epoch, state, ttl, registered_at, expires_at"
_NAMES = _COLUMNS.split(", ")
_SESSION = f"SELECT {_COLUMNS} FROM sessions WHERE service=? AND id=?"  # noqa: S608
_PUT_SESSION = (
    f"REPLACE INTO sessions ({_COLUMNS}) "  # noqa: S608
    f"VALUES ({', '.join(':' + name for name in _NAMES)})"
)
_SESSION_OF = (
    f"SELECT {_COLUMNS}, active_at FROM sessions "  # noqa: S608
    "WHERE service=? AND id=?"
)
_CHANGE_SESSION = (
    "UPDATE sessions SET state=:state, ttl=:ttl, expires_at=:expires_at "
    "WHERE service=:service AND id=:id"
)
_FORGET = (
    "DELETE FROM sessions WHERE (service, id) IN "
    "(SELECT service, id FROM sessions WHERE expires_at < ? LIMIT ?)"
)
_LIST = f"SELECT {_COLUMNS}, active_at FROM sessions WHERE "  # noqa: S608
_STATE = "(CASE WHEN expires_at <= :now THEN 'ended' ELSE state END) = :state"


class Begin(Protocol):
    """How work with a connection becomes an operation."""

    def __call__(
        self, work: Callable[[Connection], T], *, writes: bool
    ) -> Operation[T]: ...


class SQLite:
    """The `Backend` on SQLite."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def put_service(self, service: Service, /) -> Operation[None]:
        def put(connection: Connection) -> None:
            connection.execute(
                "REPLACE INTO services VALUES (?, ?)", (service.name, service.ready)
            )

        return self._begin(put, writes=True)

    def find_service(self, name: str, /) -> Operation[Service | None]:
        def find(connection: Connection) -> Service | None:
            found = _one(connection, "SELECT ready FROM services WHERE name=?", name)
            return None if found is None else Service(name=name, ready=bool(found[0]))

        return self._begin(find, writes=False)

    def remove_service(self, name: str, /) -> Operation[bool]:
        def remove(connection: Connection) -> bool:
            return _changed(connection, "DELETE FROM services WHERE name=?", name)

        return self._begin(remove, writes=True)

    def list_services(self) -> Operation[list[Service]]:
        def listed(connection: Connection) -> list[Service]:
            rows = connection.execute("SELECT name, ready FROM services ORDER BY name")
            return [Service(name=name, ready=bool(ready)) for name, ready in rows]

        return self._begin(listed, writes=False)

    def put_session(self, session: Session, /) -> Operation[None]:
        def put(connection: Connection) -> None:
            before = session.registered_at - life.ENDED_KEPT
            connection.execute(_FORGET, (before, FORGOTTEN_AT_ONCE))
            connection.execute(
                "INSERT OR IGNORE INTO services VALUES (?, 1)", (session.service,)
            )
            connection.execute(_PUT_SESSION, session_record(session))

        return self._begin(put, writes=True)

    def find_session(self, service: str, id: str, /) -> Operation[Session | None]:
        def find(connection: Connection) -> Session | None:
            return _session(_one(connection, _SESSION, service, id))

        return self._begin(find, writes=False)

    def session_of(self, service: str, id: str, /) -> Operation[Session | None]:
        def find(connection: Connection) -> Session | None:
            return _session(_one(connection, _SESSION_OF, service, id))

        return self._begin(find, writes=False)

    def change_session(
        self, service: str, id: str, change: Callable[[Session], Session | None], /
    ) -> Operation[Session | None]:
        def changed(connection: Connection) -> Session | None:
            old = _session(_one(connection, _SESSION, service, id))
            new = None if old is None else change(old)
            if new is not None:
                connection.execute(_CHANGE_SESSION, session_record(new))
            return new

        return self._begin(changed, writes=True)

    def list_sessions(
        self,
        *,
        service: str | None,
        state: State | None,
        after: tuple[str, str],
        limit: int,
        now: float,
    ) -> Operation[list[Session]]:
        if service is None:
            query = _LIST + "(service, id) > (:after, :id)"
        else:
            query = _LIST + "service = :service AND (service, id) > (:after, :id)"
        if state is not None:
            query += f" AND {_STATE}"
        values = {
            "service": service,
            "state": state,
            "after": after[0],
            "id": after[1],
            "limit": limit,
            "now": now,
        }

        def listed(connection: Connection) -> list[Session]:
            rows = connection.execute(
                f"{query} ORDER BY service, id LIMIT :limit", values
            ).fetchall()
            found = (_session(row) for row in rows)
            return [life.seen_at(each, now) for each in found if each is not None]

        return self._begin(listed, writes=False)

    def note_sessions(
        self, active_at: Mapping[tuple[str, str], float], /
    ) -> Operation[None]:
        rows = [(at, *name) for name, at in active_at.items()]
        statement = "UPDATE sessions SET active_at=? WHERE service=? AND id=?"
        return self._many(statement, rows)

    def put_key(self, key: Key, /) -> Operation[bool]:
        def put(connection: Connection) -> bool:
            return _changed(
                connection,
                "INSERT OR IGNORE INTO keys (digest, id, record) VALUES (?, ?, ?)",
                key.digest,
                key.id,
                text(key_record(key)),
            )

        return self._begin(put, writes=True)

    def find_key(self, digest: bytes, /) -> Operation[Key | None]:
        return self._key("SELECT record, used_at FROM keys WHERE digest=?", digest)

    def key_of(self, id: str, /) -> Operation[Key | None]:
        return self._key("SELECT record, used_at FROM keys WHERE id=?", id)

    def change_key(
        self, id: str, change: Callable[[Key], Key | None], /
    ) -> Operation[Key | None]:
        def changed(connection: Connection) -> Key | None:
            query = "SELECT record, used_at FROM keys WHERE id=?"
            old = _key(_one(connection, query, id))
            new = None if old is None else change(old)
            if new is not None:
                connection.execute(
                    "UPDATE keys SET record=? WHERE id=?", (text(key_record(new)), id)
                )
            return new

        return self._begin(changed, writes=True)

    def remove_key(self, id: str, /) -> Operation[bool]:
        def remove(connection: Connection) -> bool:
            return _changed(connection, "DELETE FROM keys WHERE id=?", id)

        return self._begin(remove, writes=True)

    def list_keys(self, *, after: str, limit: int) -> Operation[list[Key]]:
        def listed(connection: Connection) -> list[Key]:
            rows = connection.execute(
                "SELECT record, used_at FROM keys WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
            return [key for row in rows if (key := _key(row)) is not None]

        return self._begin(listed, writes=False)

    def note_keys(self, used_at: Mapping[str, float], /) -> Operation[None]:
        rows = [(at, id) for id, at in used_at.items()]
        return self._many("UPDATE keys SET used_at=? WHERE id=?", rows)

    def _key(self, query: str, value: str | bytes) -> Operation[Key | None]:
        def find(connection: Connection) -> Key | None:
            return _key(_one(connection, query, value))

        return self._begin(find, writes=False)

    def _many(self, statement: str, rows: Iterable[Any]) -> Operation[None]:
        def work(connection: Connection) -> None:
            connection.executemany(statement, rows)

        return self._begin(work, writes=True)


def _one(connection: Connection, query: str, *values: Any) -> Any:
    # `fetchone` would leave the statement open, and the WAL could not be emptied.
    rows = connection.execute(query, values).fetchall()
    return rows[0] if rows else None


def _changed(connection: Connection, statement: str, *values: Any) -> bool:
    return connection.execute(statement, values).rowcount > 0


def _session(row: Any) -> Session | None:
    if row is None:
        return None
    width = len(_NAMES)
    active_at = row[width] if len(row) > width else None
    return session_of(dict(zip(_NAMES, row, strict=False)), active_at)


def _key(row: Any) -> Key | None:
    return None if row is None else key_of(json.loads(row[0]), row[1])
