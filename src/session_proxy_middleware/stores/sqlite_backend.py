"""What a SQLite store asks its file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_RESTORE_SESSION = (
    f"INSERT OR IGNORE INTO sessions ({_COLUMNS}, active_at) "  # noqa: S608
    f"VALUES ({', '.join(':' + name for name in _NAMES)}, :active_at)"
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
_ONE = _LIST + "service=? AND id=?"
_SERVICE = "INSERT OR IGNORE INTO services VALUES (?, ?)"
_KEY = "INSERT OR IGNORE INTO keys (digest, id, record, used_at) VALUES (?, ?, ?, ?)"
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

    def restore_services(self, services: Sequence[Service], /) -> Operation[list[bool]]:
        def restored(connection: Connection) -> list[bool]:
            return [
                _changed(connection, _SERVICE, each.name, each.ready)
                for each in services
            ]

        return self._begin(restored, writes=True)

    def put_session(self, session: Session, /) -> Operation[None]:
        def put(connection: Connection) -> None:
            before = session.registered_at - life.ENDED_KEPT
            connection.execute(_FORGET, (before, FORGOTTEN_AT_ONCE))
            connection.execute(_SERVICE, (session.service, True))
            connection.execute(_PUT_SESSION, session_record(session))

        return self._begin(put, writes=True)

    def find_session(self, service: str, id: str, /) -> Operation[Session | None]:
        def find(connection: Connection) -> Session | None:
            return _session(_one(connection, _SESSION, service, id))

        return self._begin(find, writes=False)

    def session_of(self, service: str, id: str, /) -> Operation[Session | None]:
        def find(connection: Connection) -> Session | None:
            return _session(_one(connection, _ONE, service, id))

        return self._begin(find, writes=False)

    def restore_sessions(self, sessions: Sequence[Session], /) -> Operation[list[bool]]:
        def restored(connection: Connection) -> list[bool]:
            put = []
            for each in sessions:
                record = {**session_record(each), "active_at": each.active_at}
                put.append(connection.execute(_RESTORE_SESSION, record).rowcount > 0)
                if put[-1]:
                    connection.execute(_SERVICE, (each.service, True))
            return put

        return self._begin(restored, writes=True)

    def find_sessions(
        self, names: Sequence[tuple[str, str]], /
    ) -> Operation[list[Session | None]]:
        def find(connection: Connection) -> list[Session | None]:
            return [_session(_one(connection, _SESSION, *name)) for name in names]

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
            return _put_key(connection, key, None)

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

    def restore_keys(self, keys: Sequence[Key], /) -> Operation[list[bool]]:
        def restored(connection: Connection) -> list[bool]:
            return [_put_key(connection, each, each.used_at) for each in keys]

        return self._begin(restored, writes=True)

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


def _put_key(connection: Connection, key: Key, used_at: float | None) -> bool:
    record = text(key_record(key))
    return _changed(connection, _KEY, key.digest, key.id, record, used_at)


def _session(row: Any) -> Session | None:
    if row is None:
        return None
    width = len(_NAMES)
    active_at = row[width] if len(row) > width else None
    return session_of(dict(zip(_NAMES, row, strict=False)), active_at)


def _key(row: Any) -> Key | None:
    return None if row is None else key_of(json.loads(row[0]), row[1])
