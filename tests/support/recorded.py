"""What the portal remembers: what a store was asked, which can fail when told to by a
name, its access records, and keys that tests can read."""

from __future__ import annotations

import logging
from typing import Any

from session_proxy_middleware import Key, MemoryStore, Principal, Service, Session
from session_proxy_middleware.rules.credential import digest


class Calls:
    """What the stores were asked, in order; and what they then do."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def note(self, what: str, *, down: bool, bug: bool) -> None:
        self.made.append(what)
        if down:
            raise ConnectionRefusedError("10.9.8.7:5432 refused; secret detail")
        if bug:
            raise RuntimeError("secret detail of a bug")


class RecordedServices:
    """A registry that remembers being asked and can fail: `svc-down`, `svc-bug`."""

    def __init__(self, inner: MemoryStore, calls: Calls) -> None:
        self._inner = inner.services
        self._calls = calls

    def lookup(self, name: str, /) -> Service | None:
        self._calls.note(
            f"service {name}", down=name == "svc-down", bug=name == "svc-bug"
        )
        return self._inner.lookup(name)

    async def alookup(self, name: str, /) -> Service | None:
        return self.lookup(name)


class RecordedSessions:
    """The same for sessions: those of `sess-down` and `sess-bug` fail."""

    def __init__(self, inner: MemoryStore, calls: Calls) -> None:
        self._inner = inner.sessions
        self._calls = calls

    def lookup(self, service: str, id: str, /) -> Session | None:
        self._calls.note(
            f"session {service} {id}",
            down=service == "sess-down",
            bug=service == "sess-bug",
        )
        return self._inner.lookup(service, id)

    async def alookup(self, service: str, id: str, /) -> Session | None:
        return self.lookup(service, id)


class RecordedKeys:
    """The same for keys: the secrets `pk_down` and `pk_bug` fail."""

    def __init__(self, inner: MemoryStore, calls: Calls) -> None:
        self._inner = inner.keys
        self._calls = calls
        self._down = digest(b"pk_down")
        self._bug = digest(b"pk_bug")

    def lookup(self, digest: bytes, /) -> Key | None:
        self._calls.note("key", down=digest == self._down, bug=digest == self._bug)
        return self._inner.lookup(digest)

    async def alookup(self, digest: bytes, /) -> Key | None:
        return self.lookup(digest)


class RecordedStore:
    """A `Store` of the three."""

    def __init__(self, inner: MemoryStore, calls: Calls) -> None:
        self.services = RecordedServices(inner, calls)
        self.sessions = RecordedSessions(inner, calls)
        self.keys = RecordedKeys(inner, calls)


class Records(logging.Handler):
    """The access records, as programs get them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        own = {
            name: value
            for name, value in vars(record).items()
            if name not in _OF_EVERY_RECORD
        }
        self.kept.append({**own, "line": record.getMessage()})


_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message"}


def key_id(secret: str) -> str:
    """Of a key that `put_key` made. It tells nothing of the secret."""
    return digest(secret.encode()).hex()[:16]


def put_key(store: MemoryStore, secret: str, **options: Any) -> Key:
    """A key with a secret so short that `create` would refuse it: tests are read."""
    names = {name: options.pop(name) for name in ("services",) if name in options}
    scopes = {name: options.pop(name, None) for name in ("methods", "paths")}
    if scopes["methods"] is not None:
        scopes["methods"] = frozenset(scopes["methods"])
    id = key_id(secret)
    key = Key(
        id=id,
        digest=digest(secret.encode()),
        principal=Principal(id=id, **names, **scopes),
        **options,
    )
    store.backend.put_key(key).run()
    return key
