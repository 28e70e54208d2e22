"""What a store costs: look-ups as it fills, and CPU per request beside memory."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from statistics import median
from typing import Any, Final, TypeVar

from session_proxy_middleware import Caching, open_store
from session_proxy_middleware.models import Key, Principal, Session
from session_proxy_middleware.stores.address import parse
from session_proxy_middleware.stores.cache import CachedStore
from session_proxy_middleware.stores.managed import ManagedStore
from session_proxy_middleware.stores.records import key_record, session_record, text

from ..servers import wire
from . import wrk
from .bench import Bench, Settings
from .catalogue import ASGI, Candidate
from .scenarios import HEADLINE
from .targets import ratio

FEW: Final = (1_000, 1_000)
MANY: Final = (1_000_000, 100_000)
LOOKUPS: Final = 2_000
IN_USE: Final = 100
ROUNDS: Final = 15
BLOCK: Final = 50
CHUNK: Final = 5_000
SERVICE: Final = "bot"

T = TypeVar("T")

STORED: Final = tuple(
    Candidate(name, ASGI, f"asgi_stored_{name}")
    for name in ("memory", "sqlite", "redis")
)


@dataclass(slots=True)
class Line:
    """Microseconds of one kind of look-up, with few entries and with many."""

    what: str
    few: float
    many: float

    def __str__(self) -> str:
        grown = self.many / self.few
        return f"{self.what:44s}{self.few:10.2f}{self.many:10.2f}{grown:8.2f}"


def lookups(kind: str, url: str, progress: Callable[[str], None]) -> Iterator[Line]:
    """Look-ups of random names, each store first nearly empty and then full."""
    store = open_store(url)
    figures: list[dict[str, float]] = []
    done = (0, 0)
    for size in (FEW, MANY):
        progress(f"{kind}: {size[0]:,} sessions, {size[1]:,} keys")
        fill(kind, store, done, size)
        store.close()  # What is open has been changed for the filling.
        gc.collect()
        figures.append(_timed(kind, store, size))
        done = size
    for what, few in figures[0].items():
        yield Line(what, few, figures[1][what])


def _timed(kind: str, store: ManagedStore, size: tuple[int, int]) -> dict[str, float]:
    sessions, keys = size
    anywhere = _picked(session_id, sessions, LOOKUPS)
    nowhere = [session_id(-1 - index) for index in range(LOOKUPS)]
    find, find_key = store.sessions.lookup, store.keys.lookup

    def session(name: str) -> None:
        if find(SERVICE, name) is None:
            raise LookupError(name)

    def nothing(name: str) -> None:
        find(SERVICE, name)

    def key(each: bytes) -> None:
        if find_key(each) is None:
            raise LookupError(each)

    figures = {
        f"{kind}: a session, one of {IN_USE} in use": _least(
            session, _picked(session_id, sessions, IN_USE)
        ),
        f"{kind}: a session, any of all": _least(session, anywhere),
        f"{kind}: a session that is not there": _least(nothing, nowhere),
        f"{kind}: a key, one of {IN_USE} in use": _least(
            key, _picked(digest, keys, IN_USE)
        ),
        f"{kind}: a key, any of all": _least(key, _picked(digest, keys, LOOKUPS)),
    }
    if getattr(store, "immediate", False):
        bare = {session_id(index): index for index in range(sessions)}
        what = "memory: a bare dict of as many, any of all"
        figures[what] = _least(bare.__getitem__, anywhere)
    else:
        figures |= {
            f"{kind}: a session, awaited": asyncio.run(_awaited(store, anywhere)),
            f"{kind}: a session, remembered": _remembered(store, anywhere),
        }
    return figures


def _picked(name: Callable[[int], T], size: int, distinct: int) -> list[T]:
    """`LOOKUPS` names at random, of so many of them that are spread over all."""
    dice = random.Random(1)
    some = [dice.randrange(size) for _ in range(distinct)]
    return [name(dice.choice(some)) for _ in range(LOOKUPS)]


def _least(work: Callable[[Any], object], names: list[Any]) -> float:
    """Microseconds of one look-up: of each few of them the least of some rounds, so
    that whatever else the machine does falls out. In between all others have their
    turn, so that nothing stays in a processor's cache which would not."""
    best = [float("inf")] * (len(names) // BLOCK)
    for _ in range(ROUNDS):
        for block in range(len(best)):
            some = names[block * BLOCK : (block + 1) * BLOCK]
            began = time.perf_counter()
            for name in some:
                work(name)
            best[block] = min(best[block], time.perf_counter() - began)
    return sum(best) / (len(best) * BLOCK) * 1e6


async def _awaited(store: ManagedStore, names: list[str]) -> float:
    """`_least`, with await."""
    find: Callable[[str, str], Awaitable[Any]] = store.sessions.alookup
    best = [float("inf")] * (len(names) // BLOCK)
    for _ in range(ROUNDS):
        for block in range(len(best)):
            some = names[block * BLOCK : (block + 1) * BLOCK]
            began = time.perf_counter()
            for name in some:
                await find(SERVICE, name)
            best[block] = min(best[block], time.perf_counter() - began)
    await store.aclose()
    return sum(best) / (len(best) * BLOCK) * 1e6


def _remembered(store: ManagedStore, names: list[str]) -> float:
    cached = CachedStore(store, Caching(found=3600))
    pairs = [(SERVICE, name) for name in names]
    for pair in pairs:
        cached.sessions.lookup(*pair)
    return _least(cached.sessions.remembered.peek, pairs)


def session_id(index: int) -> str:
    """A UUID that belongs to the number."""
    plain = sha256(b"%d" % index).hexdigest()
    return f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:32]}"


def digest(index: int) -> bytes:
    """The SHA-256 of a key's secret."""
    return sha256(b"pk_%d" % index).digest()


def fill(
    kind: str, store: ManagedStore, start: tuple[int, int], end: tuple[int, int]
) -> None:
    """Bring the store from one size to another, past its one-by-one interface."""
    new_sessions = _sessions(range(start[0], end[0]))
    new_keys = _keys(range(start[1], end[1]))
    store.services.put(SERVICE)
    put = {"memory": _fill_memory, "sqlite": _fill_sqlite, "redis": _fill_redis}[kind]
    put(store, new_sessions, new_keys)


def _sessions(indices: range) -> Iterator[Session]:
    now = time.time()
    origin, base_path = parse("http://10.0.0.0:8080")
    first = Session(
        id="x", service=SERVICE, origin=origin, base_path=base_path, epoch=1
    )
    for index in indices:
        host = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        authority = f"{host}:8080".encode()
        yield replace(
            first,
            origin=replace(origin, host=host, authority=authority),
            id=session_id(index),
            epoch=index,
            registered_at=now,
            expires_at=now + first.ttl,
        )


def _keys(indices: range) -> Iterator[Key]:
    for index in indices:
        id = f"{index:016x}"
        principal = Principal(id=id, services=(SERVICE,))
        yield Key(id=id, digest=digest(index), principal=principal)


def _chunks(values: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(values, CHUNK)):
        yield chunk


def _fill_memory(
    store: ManagedStore, sessions: Iterator[Session], keys: Iterator[Key]
) -> None:
    for session in sessions:
        store.backend.put_session(session).run()
    for key in keys:
        store.backend.put_key(key).run()


def _fill_sqlite(
    store: ManagedStore, sessions: Iterator[Session], keys: Iterator[Key]
) -> None:
    def put(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA cache_size=-400000")  # Pages out of order.
        columns = "service, id, upstream, epoch, state, ttl, registered_at, expires_at"
        marks = ", ".join(f":{name}" for name in columns.split(", "))
        connection.executemany(
            f"INSERT INTO sessions ({columns}) VALUES ({marks})",  # noqa: S608
            map(session_record, sessions),
        )
        connection.executemany(
            "INSERT INTO keys (digest, id, record) VALUES (?, ?, ?)",
            ((key.digest, key.id, text(key_record(key))) for key in keys),
        )

    begin: Any = store.backend
    begin._begin(put, writes=True).run()


def _fill_redis(
    store: ManagedStore, sessions: Iterator[Session], keys: Iterator[Key]
) -> None:
    def put() -> Any:
        prefix = "session_proxy:"
        for chunk in _chunks(sessions):
            lines: list[Any] = []
            listed: list[Any] = []
            ends: list[Any] = []
            for each in chunk:
                line = text(session_record(each))
                lines += (f"{prefix}session:{each.name}", line)
                listed += (0, each.name)
                ends += (each.expires_at, each.name)
            yield [
                ("MSET", *lines),
                ("ZADD", f"{prefix}sessions", *listed),
                ("ZADD", f"{prefix}ends", *ends),
            ]
        for some in _chunks(keys):
            lines, listed, ends = [], [], []
            for key in some:
                lines += (f"{prefix}key:{key.digest.hex()}", text(key_record(key)))
                listed += (0, key.id)
                ends += (key.id, key.digest.hex())
            yield [
                ("MSET", *lines),
                ("ZADD", f"{prefix}keys", *listed),
                ("HSET", f"{prefix}digests", *ends),
            ]

    begin: Any = store.backend
    begin._begin(put()).run()


def requests(settings: Settings, urls: dict[str, str]) -> Iterator[str]:
    """CPU per small GET under uvicorn with each store, and its ratio to memory."""
    for name, url in urls.items():
        os.environ[f"BENCHMARK_{name.upper()}"] = url
    paths = [wire.path(0, wire.CHAT)]
    with (
        Bench(settings) as bench,
        bench.json_upstream() as port,
        bench.serving(STORED, upstream_port=port, tail=wire.CHAT) as started,
    ):
        for seconds in (1, *[settings.seconds] * settings.rounds):
            for row, server in started:
                if server is None:
                    continue
                load = wrk.drive(
                    server, paths=paths, connections=HEADLINE, seconds=seconds
                )
                bench.progress(f"{row.candidate}: {load.cpu_us:.0f} us")
                row.add("rps", load.requests / load.seconds)
                row.add("cpu", load.cpu_us)
        rows = [row for row, _ in started]
    for row in rows:
        if row.failure:
            yield f"{row.candidate}: {row.failure}"
            continue
        times = ratio(rows, "cpu", row.candidate, "memory")
        yield (
            f"{row.candidate:12s}{median(row.samples['rps']):10,.0f}"
            f"{median(row.samples['cpu']):12,.1f}{times or 0:12.2f}"
        )
