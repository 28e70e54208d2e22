"""Everything in one process's memory. Nothing survives a restart."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Generic, TypeVar

from ..models import Key, Service, Session, State
from ..rules import life
from .keys import Keys, checked_key
from .managed import ManagedStore
from .services import Services
from .sessions import Sessions
from .watching import Watchers

T = TypeVar("T")
Name = tuple[str, str]


class MemoryStore(ManagedStore):
    """A `Store` for one process: development, tests, a single worker. Thread-safe."""

    immediate = True

    services: MemoryServices
    sessions: MemorySessions
    keys: MemoryKeys

    def __init__(self) -> None:
        memory = Memory()
        super().__init__(memory)
        self.services = MemoryServices(memory, self._watchers)
        self.sessions = MemorySessions(memory, self._watchers)
        self.keys = MemoryKeys(memory, self._watchers)


class MemoryServices(Services):
    """`Services`, looked up without a detour."""

    def __init__(self, memory: Memory, watchers: Watchers) -> None:
        super().__init__(memory, watchers)
        self._found = memory.services

    def lookup(self, name: str, /) -> Service | None:
        """The service, or None."""
        return self._found.get(name)


class MemorySessions(Sessions):
    """`Sessions`, looked up without a detour."""

    def __init__(self, memory: Memory, watchers: Watchers) -> None:
        super().__init__(memory, watchers)
        self._found = memory.alive

    def lookup(self, service: str, id: str, /) -> Session | None:
        """The session, or None: also when it has ended."""
        session = self._found.get((service, id))
        # Its end needs no timer: whoever looks sees that its time is over.
        if session is None or session.expires_at <= time.time():
            return None
        return session


class MemoryKeys(Keys):
    """`Keys`, looked up without a detour."""

    def __init__(self, memory: Memory, watchers: Watchers) -> None:
        super().__init__(memory, watchers)
        self._found = memory.keys

    def lookup(self, digest: bytes, /) -> Key | None:
        """The key with this SHA-256, if it may be used now."""
        return checked_key(digest, self._found.get(digest))


class Now(Generic[T]):
    """An `Operation` that never waits."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[[], T]) -> None:
        self.run = run

    def __await__(self) -> Generator[Any, None, T]:
        return self.run()
        yield


class Memory:
    """The `Backend` in memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.services: dict[str, Service] = {}
        self.alive: dict[Name, Session] = {}
        """Those that have not ended by a word; their time may be over."""
        self._ended: dict[Name, Session] = {}
        self._ends: list[tuple[float, Name]] = []
        """A heap: when to look whether one is to be forgotten."""
        self.keys: dict[bytes, Key] = {}
        self._digests: dict[str, bytes] = {}
        self._active: dict[Name, float] = {}
        self._used: dict[str, float] = {}

    def put_service(self, service: Service, /) -> Now[None]:
        return Now(lambda: self.services.update({service.name: service}))

    def find_service(self, name: str, /) -> Now[Service | None]:
        return Now(lambda: self.services.get(name))

    def remove_service(self, name: str, /) -> Now[bool]:
        return Now(lambda: self.services.pop(name, None) is not None)

    def list_services(self) -> Now[list[Service]]:
        return Now(lambda: [found for _, found in sorted(self.services.items())])

    def restore_services(self, services: Sequence[Service], /) -> Now[list[bool]]:
        def put(service: Service) -> bool:
            return self.services.setdefault(service.name, service) is service

        return Now(lambda: list(map(put, services)))

    def put_session(self, session: Session, /) -> Now[None]:
        def put() -> None:
            with self._lock:
                self._forget(session.registered_at - life.ENDED_KEPT)
                self._put(session)

        return Now(put)

    def find_session(self, service: str, id: str, /) -> Now[Session | None]:
        return Now(lambda: self._find((service, id)))

    def session_of(self, service: str, id: str, /) -> Now[Session | None]:
        def find() -> Session | None:
            name = service, id
            found = self._find(name)
            active_at = self._active.get(name)
            return None if found is None else replace(found, active_at=active_at)

        return Now(find)

    def restore_sessions(self, sessions: Sequence[Session], /) -> Now[list[bool]]:
        def put(session: Session) -> bool:
            name = session.service, session.id
            if self._find(name) is not None:
                return False
            self._put(session)
            if session.active_at is not None:
                self._active[name] = session.active_at
            return True

        def restored() -> list[bool]:
            with self._lock:
                return list(map(put, sessions))

        return Now(restored)

    def find_sessions(self, names: Sequence[Name], /) -> Now[list[Session | None]]:
        return Now(lambda: [self._find(name) for name in names])

    def change_session(
        self, service: str, id: str, change: Callable[[Session], Session | None], /
    ) -> Now[Session | None]:
        def changed() -> Session | None:
            name = service, id
            with self._lock:
                old = self._find(name)
                new = None if old is None else change(old)
                if new is None:
                    return None
                if new.state == "ended":
                    del self.alive[name]
                    self._ended[name] = new
                    heapq.heappush(self._ends, (new.expires_at, name))
                else:
                    self.alive[name] = new
                return new

        return Now(changed)

    def list_sessions(
        self,
        *,
        service: str | None,
        state: State | None,
        after: Name,
        limit: int,
        now: float,
    ) -> Now[list[Session]]:
        def wanted() -> Iterable[Name]:
            for name, session in (*self.alive.items(), *self._ended.items()):
                asked = name > after and service in (None, name[0])
                if asked and state in (None, life.seen_at(session, now).state):
                    yield name

        def listed() -> list[Session]:
            with self._lock:
                return [
                    replace(
                        life.seen_at(session, now), active_at=self._active.get(name)
                    )
                    for name in heapq.nsmallest(limit, wanted())
                    if (session := self._find(name)) is not None
                ]

        return Now(listed)

    def note_sessions(self, active_at: Mapping[Name, float], /) -> Now[None]:
        def note() -> None:
            with self._lock:
                known = (name for name in active_at if self._find(name) is not None)
                self._active.update({name: active_at[name] for name in known})

        return Now(note)

    def put_key(self, key: Key, /) -> Now[bool]:
        def put() -> bool:
            with self._lock:
                return self._put_key(key)

        return Now(put)

    def find_key(self, digest: bytes, /) -> Now[Key | None]:
        return Now(lambda: self.keys.get(digest))

    def key_of(self, id: str, /) -> Now[Key | None]:
        return Now(lambda: self._shown(id))

    def change_key(
        self, id: str, change: Callable[[Key], Key | None], /
    ) -> Now[Key | None]:
        def changed() -> Key | None:
            with self._lock:
                old = self.keys.get(self._digests.get(id, b""))
                new = None if old is None else change(old)
                if new is not None:
                    self.keys[new.digest] = new
                return new

        return Now(changed)

    def remove_key(self, id: str, /) -> Now[bool]:
        def remove() -> bool:
            with self._lock:
                self._used.pop(id, None)
                return self.keys.pop(self._digests.pop(id, b""), None) is not None

        return Now(remove)

    def list_keys(self, *, after: str, limit: int) -> Now[list[Key]]:
        def listed() -> list[Key]:
            with self._lock:
                ids = (id for id in self._digests if id > after)
                found = map(self._shown, heapq.nsmallest(limit, ids))
                return [key for key in found if key is not None]

        return Now(listed)

    def restore_keys(self, keys: Sequence[Key], /) -> Now[list[bool]]:
        def put(key: Key) -> bool:
            new = self._put_key(replace(key, used_at=None))
            if new and key.used_at is not None:
                self._used[key.id] = key.used_at
            return new

        def restored() -> list[bool]:
            with self._lock:
                return list(map(put, keys))

        return Now(restored)

    def note_keys(self, used_at: Mapping[str, float], /) -> Now[None]:
        def note() -> None:
            with self._lock:
                known = (id for id in used_at if id in self._digests)
                self._used.update({id: used_at[id] for id in known})

        return Now(note)

    def _find(self, name: Name) -> Session | None:
        return self.alive.get(name) or self._ended.get(name)

    def _put(self, session: Session) -> None:
        name = session.service, session.id
        self.services.setdefault(session.service, Service(name=session.service))
        for kept in (self.alive, self._ended, self._active):
            kept.pop(name, None)
        (self._ended if session.state == "ended" else self.alive)[name] = session
        heapq.heappush(self._ends, (session.expires_at, name))

    def _put_key(self, key: Key) -> bool:
        if key.digest in self.keys or key.id in self._digests:
            return False
        self.keys[key.digest] = key
        self._digests[key.id] = key.digest
        return True

    def _shown(self, id: str) -> Key | None:
        key = self.keys.get(self._digests.get(id, b""))
        return None if key is None else replace(key, used_at=self._used.get(id))

    def _forget(self, before: float) -> None:
        """Sessions that ended before that. One that was touched meanwhile, or has
        been registered anew, comes up again at its own time."""
        while self._ends and self._ends[0][0] < before:
            _, name = heapq.heappop(self._ends)
            session = self._find(name)
            if session is None:
                continue
            if session.expires_at < before:
                self.alive.pop(name, None)
                self._ended.pop(name, None)
                self._active.pop(name, None)
            else:
                heapq.heappush(self._ends, (session.expires_at, name))
