"""A store that fails refuses everybody, is logged once, and comes back by itself."""

from __future__ import annotations

import os
import re
import resource
import sqlite3
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from session_proxy_middleware import open_store
from session_proxy_middleware.stores.managed import ManagedStore

from ..support import contract
from ..support.cluster import Cluster
from ..support.redis_server import RedisServer
from ..support.upstream import Upstream
from ..support.wire import PATIENCE

SECRET = "pk_for_all_of_these_tests_0123456789"
FAILS = "the store fails"
WORKS = "the store works again"


def filled(url: str, upstream: Upstream) -> tuple[ManagedStore, str]:
    """A store with a key and a session, and the path of that."""
    store = open_store(url)
    store.keys.create(secret=SECRET)
    session = store.sessions.register("bot", str(uuid.uuid4()), upstream.url)
    return store, f"/bot/sessions/{session.id}/x"


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 2 * PATIENCE
    while not reached():
        assert time.monotonic() < end


def logged(running: Cluster, what: str) -> int:
    return len(re.findall(re.escape(what), running.log))


class Load:
    """Clients that never stop, one of them a stranger."""

    def __init__(self, running: Cluster, path: str) -> None:
        self._running = running
        self._path = path
        self._over = threading.Event()
        self.ours: Counter[int] = Counter()
        self.strangers: Counter[int] = Counter()
        self._threads = [
            *(threading.Thread(target=self._ask, args=(SECRET,)) for _ in range(4)),
            threading.Thread(target=self._ask, args=(None,)),
            threading.Thread(target=self._ask, args=("pk_stranger",)),
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, key: str | None) -> None:
        counts = self.ours if key == SECRET else self.strangers
        while not self._over.is_set():
            counts[self._running.exchange(self._path, key).status] += 1


def test_redis_is_killed_under_load_and_started_again(
    driver: str, tmp_path: Path, upstream: Upstream, redis_server: RedisServer
) -> None:
    store, path = filled(redis_server.url, upstream)
    with Cluster(driver, redis_server.url, tmp_path) as running:
        with Load(running, path) as load:
            until(lambda: load.ours[200] > 20)
            redis_server.kill()
            until(lambda: load.ours[503] > 20)
            contract.check(running.exchange(path, SECRET), contract.STORE)
            contract.check(running.exchange(path, None), contract.NO_CREDENTIAL)
            served = load.ours[200]
            redis_server.start()
            until(lambda: load.ours[200] > served + 20)
        assert set(load.ours) == {200, 503}
        assert set(load.strangers) <= {401, 503}
        assert running.exchange(path, SECRET).status == 200
        assert (logged(running, FAILS), logged(running, WORKS)) == (1, 1)
    assert "Traceback" not in running.log
    assert [each.state for each in store.sessions.list()] == ["running"]
    store.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can read or write the database
    (https://sqlite.org/pragma.html#pragma_locking_mode)."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    yield
    holder.execute("ROLLBACK")
    holder.close()


def test_a_locked_file_refuses_everybody_until_it_is_free(
    driver: str, tmp_path: Path, upstream: Upstream
) -> None:
    file = tmp_path / "s.db"
    store, path = filled(f"sqlite:///{file}", upstream)
    store.close()  # Whoever has it open already keeps others from locking it whole.
    with Cluster(driver, f"sqlite:///{file}", tmp_path) as running:
        with locked(file):
            for _ in range(2):
                contract.check(running.exchange(path, SECRET), contract.STORE)
            contract.check(running.exchange(path, None), contract.NO_CREDENTIAL)
        assert running.exchange(path, SECRET).status == 200
        assert (logged(running, FAILS), logged(running, WORKS)) == (1, 1)
    assert "Traceback" not in running.log


def test_a_writer_that_holds_the_file_stops_no_reader(
    driver: str, tmp_path: Path, upstream: Upstream
) -> None:
    file = tmp_path / "s.db"
    store, path = filled(f"sqlite:///{file}", upstream)
    with Cluster(driver, f"sqlite:///{file}", tmp_path) as running:
        worker = running.workers[0]
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        refused = worker.control("services", "put", "new")
        assert "database is locked" in refused
        assert running.exchange(path, SECRET).status == 200
        other.execute("ROLLBACK")
        other.close()
        assert worker.control("services", "put", "new")["name"] == "new"
    assert (logged(running, FAILS), logged(running, "Traceback")) == (0, 0)
    store.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of one MiB at `folder`, where this machine lets us mount one."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_writers_alone(
    driver: str, tmp_path: Path, upstream: Upstream
) -> None:
    """Where no disk can be mounted, the server may write no more than is there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    file = folder / "s.db"
    with small_disk(folder) as mounted:
        store, path = filled(f"sqlite:///{file}", upstream)
        with Cluster(driver, f"sqlite:///{file}", tmp_path) as running:
            worker = running.workers[0]
            assert running.exchange(path, SECRET).status == 200
            if mounted:
                full = pytest.raises(OSError, match="No space left")
                with (folder / "filler").open("wb", buffering=0) as filler, full:
                    while filler.write(bytes(4096)):
                        pass
            else:
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, -1))
            refused = worker.control("services", "put", "n" * 8192)
            assert isinstance(refused, str), refused
            assert "full" in refused or "I/O" in refused
            time.sleep(1.1)  # Nothing of what follows comes out of the cache.
            assert running.exchange(path, SECRET).status == 200
            contract.check(running.exchange(path, "pk_x"), contract.WRONG_CREDENTIAL)
            if mounted:
                os.truncate(folder / "filler", 0)
            else:
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (-1, -1))
            assert worker.control("services", "put", "n" * 8192)["name"]
            assert running.exchange(path, SECRET).status == 200
        assert "Traceback" not in running.log
        assert [each.state for each in store.sessions.list()] == ["running"]
        store.close()


def versions(kind: str, tmp_path: Path, server: RedisServer) -> Callable[[int], None]:
    """How the store's schema gets another number."""

    def sqlite(version: int) -> None:
        connection = sqlite3.connect(tmp_path / "s.db")
        connection.execute(f"PRAGMA user_version={version}")
        connection.close()

    def redis(version: int) -> None:
        server.ask("SET", "session_proxy:schema", str(version))

    return sqlite if kind == "sqlite" else redis


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_store_of_a_newer_version_is_left_alone(
    driver: str,
    kind: str,
    tmp_path: Path,
    upstream: Upstream,
    redis_server: RedisServer,
) -> None:
    url = redis_server.url if kind == "redis" else f"sqlite:///{tmp_path}/s.db"
    store, path = filled(url, upstream)
    set_version = versions(kind, tmp_path, redis_server)
    set_version(99)
    with Cluster(driver, url, tmp_path) as running:
        for _ in range(3):
            contract.check(running.exchange(path, SECRET), contract.STORE)
        contract.check(running.exchange(path, None), contract.NO_CREDENTIAL)
        refused = running.workers[0].control("services", "put", "new")
        assert "schema 99" in refused
        assert "upgrade" in refused
        assert (logged(running, FAILS), logged(running, "schema 99")) == (1, 1)
        set_version(1)
        until(lambda: running.exchange(path, SECRET).status == 200)
        assert logged(running, WORKS) == 1
    assert "Traceback" not in running.log
    store.close()
