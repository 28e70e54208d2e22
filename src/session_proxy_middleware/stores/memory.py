"""Everything in one process's memory. Nothing survives a restart."""

from __future__ import annotations

import hmac
import itertools
import math
import re
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from ..errors import METHODS, ConfigError
from ..models import Key, Principal, Service, Session
from ..rules.credential import digest
from ..rules.route import canonical
from .address import parse

# Not the characters of globs: a key for "bot[1]" would open "bot1".
_SERVICE = re.compile(r"[^/*?\[\]\x00-\x1f\x7f]+")
_ID = re.compile(r"[\x21-\x2e\x30-\x7e]+")
_SECRET = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_NOBODY = bytes(32)


class MemoryStore:
    """A `Store` for one process: development, tests, a single worker.

    Thread-safe. Every method has an async twin with an `a` prefix.
    """

    immediate = True

    def __init__(self) -> None:
        lock = threading.Lock()
        self.services = MemoryServices(lock)
        self.sessions = MemorySessions(lock, self.services)
        self.keys = MemoryKeys(lock)


class MemoryServices:
    """The services: `put`, `lookup`, `remove`."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._by_name: dict[str, Service] = {}

    def put(self, name: str, *, ready: bool = True) -> Service:
        """Register a service or change it.

        Raises:
            ConfigError: the name cannot be one segment of a path.
        """
        dots = name in (".", "..")
        if dots or not isinstance(name, str) or not _SERVICE.fullmatch(name):
            raise ConfigError(
                "a service's name must be one path segment, without '/', '*', '?', "
                f"'[', ']' or control characters, not {name!r}"
            )
        service = Service(name=name, ready=bool(ready))
        with self._lock:
            self._by_name[name] = service
        return service

    def lookup(self, name: str, /) -> Service | None:
        """The service, or None."""
        return self._by_name.get(name)

    def remove(self, name: str) -> bool:
        """Forget a service; its sessions answer 404. False when it was not known."""
        with self._lock:
            return self._by_name.pop(name, None) is not None

    async def aput(self, name: str, *, ready: bool = True) -> Service:
        """`put`, awaitable."""
        return self.put(name, ready=ready)

    async def alookup(self, name: str, /) -> Service | None:
        """`lookup`, awaitable."""
        return self._by_name.get(name)

    async def aremove(self, name: str) -> bool:
        """`remove`, awaitable."""
        return self.remove(name)


class MemorySessions:
    """The sessions: `register`, `lookup`, `end`."""

    def __init__(self, lock: threading.Lock, services: MemoryServices) -> None:
        self._lock = lock
        self._services = services
        self._by_name: dict[tuple[str, str], Session] = {}
        self._epochs = itertools.count(1)

    def register(self, service: str, id: str, upstream: str) -> Session:
        """Make a session known; one of the same id is replaced. An unknown service
        is created, ready.

        `upstream` is `http://`, `https://` or `unix:///path`, with an optional base
        path (`unix:///path:/base`).

        Raises:
            ConfigError: one of the three is not valid.
        """
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise ConfigError(
                "a session's id must be one path segment of printable ASCII, "
                f"not {id!r}"
            )
        origin, base_path = parse(upstream)
        session = Session(
            id=canonical(id),
            service=service,
            origin=origin,
            base_path=base_path,
            epoch=next(self._epochs),
        )
        if self._services.lookup(service) is None:
            self._services.put(service)
        with self._lock:
            self._by_name[service, session.id] = session
        return session

    def lookup(self, service: str, id: str, /) -> Session | None:
        """The session, or None."""
        return self._by_name.get((service, id))

    def end(self, service: str, id: str) -> bool:
        """Forget a session. False when it was not known."""
        with self._lock:
            return self._by_name.pop((service, canonical(id)), None) is not None

    async def aregister(self, service: str, id: str, upstream: str) -> Session:
        """`register`, awaitable."""
        return self.register(service, id, upstream)

    async def alookup(self, service: str, id: str, /) -> Session | None:
        """`lookup`, awaitable."""
        return self._by_name.get((service, id))

    async def aend(self, service: str, id: str) -> bool:
        """`end`, awaitable."""
        return self.end(service, id)


class MemoryKeys:
    """The keys: `create`, `lookup`, `revoke`."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._by_digest: dict[bytes, Key] = {}

    def create(
        self,
        *,
        services: Iterable[str] = ("*",),
        methods: Iterable[str] | None = None,
        paths: Iterable[str] | None = None,
        secret: str | None = None,
        not_before: float | None = None,
        expires_at: float | None = None,
    ) -> Key:
        """A new key. `secret` of the returned value is shown here and never again.

        `services` are names or globs; `methods` and `paths` restrict further (see
        `Principal`); `not_before` and `expires_at` are seconds since the epoch. A
        `secret` of one's own should be random and at least 32 characters long.

        Raises:
            ConfigError: an option is not valid, or the secret is taken.
        """
        _moment("not_before", not_before)
        _moment("expires_at", expires_at)
        id = secrets.token_hex(8)
        if secret is None:
            secret = f"pk_{id}_{secrets.token_urlsafe(32)}"
        elif not isinstance(secret, str) or not _SECRET.fullmatch(secret):
            raise ConfigError(
                "secret must be a token of letters, digits and -._~+/ (RFC 6750)"
            )
        try:
            principal = Principal(
                id=id,
                services=_texts("services", services),
                methods=_methods(methods),
                paths=None if paths is None else _texts("paths", paths),
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error
        key = Key(
            id=id,
            digest=digest(secret.encode("ascii")),
            principal=principal,
            not_before=not_before,
            expires_at=expires_at,
        )
        with self._lock:
            if key.digest in self._by_digest:
                raise ConfigError("secret is the secret of another key")
            self._by_digest[key.digest] = key
        return replace(key, secret=secret)

    def lookup(self, digest: bytes, /) -> Key | None:
        """The key with this SHA-256, if it may be used now.

        Compared in constant time, with a dummy where there is none, so that an
        unknown key takes as long as a known one (GHSA-95c6-p277-p87g).
        """
        key = self._by_digest.get(digest)
        same = hmac.compare_digest(digest, _NOBODY if key is None else key.digest)
        if key is None or not same:
            return None
        if key.expires_at is not None or key.not_before is not None:
            now = time.time()
            if key.expires_at is not None and now >= key.expires_at:
                return None
            if key.not_before is not None and now < key.not_before:
                return None
        return key

    def revoke(self, id: str) -> bool:
        """Refuse the key from now on. False when it was not known."""
        with self._lock:
            for known, key in self._by_digest.items():
                if key.id == id:
                    del self._by_digest[known]
                    return True
        return False

    async def acreate(
        self,
        *,
        services: Iterable[str] = ("*",),
        methods: Iterable[str] | None = None,
        paths: Iterable[str] | None = None,
        secret: str | None = None,
        not_before: float | None = None,
        expires_at: float | None = None,
    ) -> Key:
        """`create`, awaitable."""
        return self.create(
            services=services,
            methods=methods,
            paths=paths,
            secret=secret,
            not_before=not_before,
            expires_at=expires_at,
        )

    async def alookup(self, digest: bytes, /) -> Key | None:
        """`lookup`, awaitable."""
        return self.lookup(digest)

    async def arevoke(self, id: str) -> bool:
        """`revoke`, awaitable."""
        return self.revoke(id)


def _moment(option: str, value: float | None) -> None:
    number = isinstance(value, int | float) and math.isfinite(value)
    if value is not None and not number:
        raise ConfigError(f"{option} must be seconds since the epoch, not {value!r}")


def _texts(option: str, values: Iterable[str]) -> tuple[str, ...]:
    listed = isinstance(values, Iterable) and not isinstance(values, str)
    found = tuple(values) if listed else ()
    if not found or not all(isinstance(each, str) and each for each in found):
        raise ConfigError(f"{option} must be a list of names, not {values!r}")
    return found


def _methods(values: Iterable[str] | None) -> frozenset[str] | None:
    if values is None:
        return None
    found = frozenset(each.upper() for each in _texts("methods", values))
    if unknown := found - set(METHODS):
        raise ConfigError(
            f"methods must be among {', '.join(METHODS)}, not {sorted(unknown)}"
        )
    return found
