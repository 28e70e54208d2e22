"""What a Redis store asks its server.

Sessions and keys are each one line of JSON under a name of their own, so that a
look-up is one GET. Sorted sets hold their names (to list them), when sessions end (to
forget them) and when things were last used. What must be read before it is written is
compared and set by a script: nothing comes between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol, TypeVar

from ..interfaces import Operation
from ..models import Key, Service, Session, State
from ..rules import life
from .records import key_of, key_record, session_of, session_record, text

T = TypeVar("T")

Command = tuple[Any, ...]
Steps = Generator[Command | list[Command], Any, T]
"""Yields a command, or a list of them for one transaction; gets the answers."""

FORGOTTEN_AT_ONCE = 20
"""Old sessions deleted with each new one: never a long script."""

LISTED_AT_ONCE = 500

_PREFIX = "session_proxy:"
_SERVICES = _PREFIX + "services"
_SESSION = _PREFIX + "session:"
_SESSIONS = _PREFIX + "sessions"
_ENDS = _PREFIX + "ends"
_ACTIVE = _PREFIX + "active"
_KEY = _PREFIX + "key:"
_KEYS = _PREFIX + "keys"
_DIGESTS = _PREFIX + "digests"
_USED = _PREFIX + "used"

_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if KEYS[2] then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4]) end
return 1
"""
_FORGET = """
local old = redis.call(
    'ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, name in ipairs(old) do
    redis.call('DEL', ARGV[3] .. name)
    for i = 1, 3 do redis.call('ZREM', KEYS[i], name) end
end
"""
_NOTE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('ZADD', KEYS[2], 'GT', ARGV[1], ARGV[2])
end
"""
_PUT_KEY = """
if redis.call('EXISTS', KEYS[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1]) > 0 then
    return 0
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
return 1
"""
_REMOVE_KEY = """
local digest = redis.call('HGET', KEYS[1], ARGV[1])
if not digest then return 0 end
redis.call('DEL', ARGV[2] .. digest)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""


class Begin(Protocol):
    """How steps become an operation."""

    def __call__(self, steps: Steps[T], /) -> Operation[T]: ...


class Redis:
    """The `Backend` on Redis."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def put_service(self, service: Service, /) -> Operation[None]:
        return self._begin(_put_service(service))

    def find_service(self, name: str, /) -> Operation[Service | None]:
        return self._begin(_find_service(name))

    def remove_service(self, name: str, /) -> Operation[bool]:
        return self._begin(_truth("HDEL", _SERVICES, name))

    def list_services(self) -> Operation[list[Service]]:
        return self._begin(_list_services())

    def put_session(self, session: Session, /) -> Operation[None]:
        return self._begin(_put_session(session))

    def find_session(self, service: str, id: str, /) -> Operation[Session | None]:
        return self._begin(_find_session(service, id))

    def session_of(self, service: str, id: str, /) -> Operation[Session | None]:
        return self._begin(_session_of(f"{service}/{id}"))

    def change_session(
        self, service: str, id: str, change: Callable[[Session], Session | None], /
    ) -> Operation[Session | None]:
        return self._begin(_change_session(f"{service}/{id}", change))

    def list_sessions(
        self,
        *,
        service: str | None,
        state: State | None,
        after: tuple[str, str],
        limit: int,
        now: float,
    ) -> Operation[list[Session]]:
        return self._begin(_list_sessions(service, state, after, limit, now))

    def note_sessions(
        self, active_at: Mapping[tuple[str, str], float], /
    ) -> Operation[None]:
        return self._begin(_note_sessions(active_at))

    def put_key(self, key: Key, /) -> Operation[bool]:
        digest = key.digest.hex()
        record = text(key_record(key))
        keys = (_KEY + digest, _DIGESTS, _KEYS)
        return self._begin(_truth(*_eval(_PUT_KEY, keys, key.id, digest, record)))

    def find_key(self, digest: bytes, /) -> Operation[Key | None]:
        return self._begin(_find_key(digest.hex()))

    def key_of(self, id: str, /) -> Operation[Key | None]:
        return self._begin(_key_of(id))

    def change_key(
        self, id: str, change: Callable[[Key], Key | None], /
    ) -> Operation[Key | None]:
        return self._begin(_change_key(id, change))

    def remove_key(self, id: str, /) -> Operation[bool]:
        keys = (_DIGESTS, _KEYS, _USED)
        return self._begin(_truth(*_eval(_REMOVE_KEY, keys, id, _KEY)))

    def list_keys(self, *, after: str, limit: int) -> Operation[list[Key]]:
        return self._begin(_list_keys(after, limit))

    def note_keys(self, used_at: Mapping[str, float], /) -> Operation[None]:
        return self._begin(_note_keys(used_at))


def _eval(script: str, keys: tuple[str, ...], *values: Any) -> Command:
    return ("EVAL", script, len(keys), *keys, *values)


def _truth(*command: Any) -> Steps[bool]:
    return bool((yield command))


def _put_service(service: Service) -> Steps[None]:
    yield ("HSET", _SERVICES, service.name, int(service.ready))


def _find_service(name: str) -> Steps[Service | None]:
    ready = yield ("HGET", _SERVICES, name)
    return None if ready is None else Service(name=name, ready=ready == "1")


def _list_services() -> Steps[list[Service]]:
    found = yield ("HGETALL", _SERVICES)
    return [Service(name=name, ready=found[name] == "1") for name in sorted(found)]


def _put_session(session: Session) -> Steps[None]:
    name = session.name
    before = session.registered_at - life.ENDED_KEPT
    old = (_ENDS, _SESSIONS, _ACTIVE)
    yield [
        _eval(_FORGET, old, before, FORGOTTEN_AT_ONCE, _SESSION),
        ("SET", _SESSION + name, text(session_record(session))),
        ("ZADD", _SESSIONS, 0, name),
        ("ZADD", _ENDS, session.expires_at, name),
        ("ZREM", _ACTIVE, name),
        ("HSETNX", _SERVICES, session.service, 1),
    ]


def _find_session(service: str, id: str) -> Steps[Session | None]:
    line = yield ("GET", f"{_SESSION}{service}/{id}")
    return None if line is None else session_of(json.loads(line))


def _session_of(name: str) -> Steps[Session | None]:
    line, at = yield [("GET", _SESSION + name), ("ZSCORE", _ACTIVE, name)]
    if line is None:
        return None
    return session_of(json.loads(line), None if at is None else float(at))


def _change_session(
    name: str, change: Callable[[Session], Session | None]
) -> Steps[Session | None]:
    keys = (_SESSION + name, _ENDS)
    while True:
        line = yield ("GET", _SESSION + name)
        new = None if line is None else change(session_of(json.loads(line)))
        if new is None:
            return None
        changed = text(session_record(new))
        if (yield _eval(_REPLACE, keys, line, changed, new.expires_at, name)):
            return new


def _list_sessions(
    service: str | None,
    state: State | None,
    after: tuple[str, str],
    limit: int,
    now: float,
) -> Steps[list[Session]]:
    listed: list[Session] = []
    least, most = "-", "+"
    if service is not None:
        least, most = f"[{service}/", f"({service}0"  # "0" is what follows "/".
    if any(after) and service in (None, after[0]):
        least = "(" + "/".join(after)
    while len(listed) < limit:
        wanted = LISTED_AT_ONCE if state is not None else limit - len(listed)
        names = yield ("ZRANGE", _SESSIONS, least, most, "BYLEX", "LIMIT", 0, wanted)
        if not names:
            break
        lines, active = yield [
            ("MGET", *(_SESSION + name for name in names)),
            ("ZMSCORE", _ACTIVE, *names),
        ]
        for line, at in zip(lines, active, strict=True):
            if line is not None:
                found = session_of(json.loads(line), None if at is None else float(at))
                session = life.seen_at(found, now)
                if state in (None, session.state):
                    listed.append(session)
        least = "(" + names[-1]
    return listed[:limit]


def _note_sessions(active_at: Mapping[tuple[str, str], float]) -> Steps[None]:
    names = {"/".join(name): at for name, at in active_at.items()}
    commands = [
        _eval(_NOTE, (_SESSION + name, _ACTIVE), at, name) for name, at in names.items()
    ]
    if commands:
        yield commands


def _find_key(digest: str) -> Steps[Key | None]:
    line = yield ("GET", _KEY + digest)
    return None if line is None else key_of(json.loads(line))


def _key_of(id: str) -> Steps[Key | None]:
    found = yield from _keys([id])
    return found[0] if found else None


def _change_key(id: str, change: Callable[[Key], Key | None]) -> Steps[Key | None]:
    digest = yield ("HGET", _DIGESTS, id)
    while digest is not None:
        line = yield ("GET", _KEY + digest)
        new = None if line is None else change(key_of(json.loads(line)))
        if new is None:
            return None
        changed = text(key_record(new))
        if (yield _eval(_REPLACE, (_KEY + digest,), line, changed)):
            return new
    return None


def _list_keys(after: str, limit: int) -> Steps[list[Key]]:
    least = f"({after}" if after else "-"
    ids = yield ("ZRANGE", _KEYS, least, "+", "BYLEX", "LIMIT", 0, limit)
    found = yield from _keys(ids)
    return found


def _keys(ids: list[str]) -> Steps[list[Key]]:
    if not ids:
        return []
    digests, used = yield [("HMGET", _DIGESTS, *ids), ("ZMSCORE", _USED, *ids)]
    known = [
        (digest, used_at)
        for digest, used_at in zip(digests, used, strict=True)
        if digest is not None
    ]
    if not known:
        return []
    lines = yield ("MGET", *(_KEY + digest for digest, _ in known))
    return [
        key_of(json.loads(line), None if used_at is None else float(used_at))
        for line, (_, used_at) in zip(lines, known, strict=True)
        if line is not None
    ]


def _note_keys(used_at: Mapping[str, float]) -> Steps[None]:
    if not used_at:
        return
    digests = yield ("HMGET", _DIGESTS, *used_at)
    commands = [
        _eval(_NOTE, (f"{_KEY}{digest}", _USED), at, id)
        for (id, at), digest in zip(used_at.items(), digests, strict=True)
    ]
    yield commands
