"""What a store has open: per thread, per event loop, and across a fork."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import socket
import sqlite3
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import trustme

from session_proxy_middleware import (
    ConfigError,
    Service,
    SessionProxy,
    StoreUnavailable,
    open_store,
)
from session_proxy_middleware.asgi import SessionProxyMiddleware
from session_proxy_middleware.stores.managed import ManagedStore
from session_proxy_middleware.stores.sqlite import SQLiteStore
from session_proxy_middleware.stores.sqlite_schema import MIGRATIONS
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware
from tests.support.redis_server import RedisServer
from tests.support.wire import PATIENCE

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
URL = "http://10.0.3.7:8080"

# Python 3.12 warns of a fork where there are threads; that is the point of these.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def files_open(path: Path) -> int:
    """How often this process has the file open."""
    links = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link) == str(path) for link in links)


def settled(count: int, server: RedisServer) -> bool:
    """Whether the server soon has so many clients."""
    end = time.monotonic() + PATIENCE
    while server.clients() != count:
        if time.monotonic() > end:
            return False
    return True


def test_nothing_is_opened_before_it_is_used(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    for url in (f"sqlite:///{tmp_path}/s.db", redis_server.url):
        proxy = SessionProxy(url)
        WSGIMiddleware(lambda environ, start: [], proxy)
    assert os.listdir(tmp_path) == []
    assert settled(0, redis_server)


@pytest.mark.parametrize("ending", ["close", "forget"])
def test_a_file_that_is_not_used_any_more_is_closed(
    tmp_path: Path, ending: str
) -> None:
    file = tmp_path / "s.db"
    store = SQLiteStore(file)
    store.services.put("bot")
    assert files_open(file) == 1
    if ending == "close":
        store.close()
        assert files_open(file) == 0
        assert store.services.lookup("bot") is not None
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    assert files_open(file) == 0


def test_connections_to_a_file_are_as_many_as_are_used_at_once(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    store = SQLiteStore(file)
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait(PATIENCE)
        for turn in range(50):
            store.sessions.register(f"s{number}", f"i{turn}", URL)
            assert store.sessions.touch(f"s{number}", f"i{turn}")

    threads = [threading.Thread(target=work, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.sessions.list(limit=1000)) == 200
    assert 1 <= files_open(file) <= 4
    store.close()


@forks
def test_processes_write_to_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    """The very first writes, too: each finds no tables and may make them."""
    url = f"sqlite:///{tmp_path}/s.db"
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store = open_store(url)
                for turn in range(20):
                    store.sessions.register(f"s{number}", f"i{turn}", URL)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children]
    assert codes == [0] * 6
    store = SQLiteStore(tmp_path / "s.db")
    assert len(store.sessions.list(limit=1000)) == 120
    store.close()


@forks
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_forked_child_and_its_parent_do_not_disturb_each_other(
    kind: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.ask("FLUSHALL")
    url = redis_server.url if kind == "redis" else f"sqlite:///{tmp_path}/s.db"
    store = open_store(url)
    store.sessions.register("parent", ID, URL)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for turn in range(100):
                store.sessions.register("child", f"i{turn}", URL)
                assert store.sessions.lookup("parent", ID) is not None
            status = 0
        finally:
            os._exit(status)
    for turn in range(100):
        store.sessions.register("mine", f"i{turn}", URL)
        assert store.sessions.lookup("parent", ID) is not None
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(store.sessions.list(limit=1000)) == 201
    store.close()


def test_each_loop_has_connections_of_its_own_and_a_shutdown_closes_them(
    redis_server: RedisServer,
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    store = open_store(redis_server.url)
    middleware = SessionProxyMiddleware(application, SessionProxy(store))
    said: list[str] = []

    async def receive() -> Any:
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    async def live() -> None:
        assert await store.services.alookup("nobody") is None
        assert settled(1, redis_server)
        await middleware({"type": "lifespan"}, receive, send)

    for _ in range(2):
        asyncio.run(live())
        assert settled(0, redis_server)
    assert said == ["lifespan.shutdown.complete"] * 2


def used(store: ManagedStore) -> None:
    """A word written and read, both ways."""
    store.services.put("bot", ready=False)

    async def read() -> Service | None:
        found = await store.services.alookup("bot")
        await store.aclose()
        return found

    assert asyncio.run(read()) == store.services.lookup("bot")
    assert store.services.lookup("bot") == Service(name="bot", ready=False)
    store.close()


def test_redis_is_reached_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, "--unixsocket", str(path)):
        used(open_store(f"unix://{path}?db=1"))


def test_redis_is_reached_over_tls_and_its_certificate_is_checked(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    names = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(names["ca"])
    issued.cert_chain_pems[0].write_to_path(names["cert"])
    issued.private_key_pem.write_to_path(names["key"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = {
        "--tls-port": str(port),
        "--tls-cert-file": names["cert"],
        "--tls-key-file": names["key"],
        "--tls-ca-cert-file": names["ca"],
        "--tls-auth-clients": "no",
    }
    words = [word for pair in options.items() for word in pair]
    url = f"rediss://127.0.0.1:{port}/0"
    with RedisServer(tmp_path, *words):
        used(open_store(f"{url}?ssl_ca_certs={names['ca']}"))
        store = open_store(url)
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            store.services.lookup("bot")
        store.close()


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """Version 0 is an empty file, or somebody else's without our tables."""
    file = tmp_path / "s.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    store = SQLiteStore(file)
    store.services.put("bot")
    store.close()
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    names = {name for (name,) in tables}
    assert names == {"theirs", "services", "sessions", "keys"}
    connection.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory://x",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgres://user:secret@db",
        "redis://host:port-secret",
        "redis://user:secret@host:x",
        "redis:/user:secret@host",
        "user:secret@host",
        "redis://user:secret/x@host",
        "redis://user:secret?x@host",
        "redis://user:secret#x@host",
        "redis://user:x@secret@host:y",
        "redis://host?password=secret&db=x",
        "redis://host?password=secret&nonsense=1",
        "redis://host?ssl_cert_reqs=none",
    ],
)
def test_a_url_of_no_store_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError, match="store") as raised:
        open_store(url)
    assert "secret" not in str(raised.value).replace("port-secret", "")


def test_without_its_library_a_redis_store_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.import_module

    def missing(name: str) -> Any:
        # Stands in for an environment without the package.
        if name.partition(".")[0] == "redis":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"session-proxy-middleware\[redis\]"):
        open_store("redis://127.0.0.1")


def test_a_failure_shows_no_password(redis_server: RedisServer) -> None:
    with_password = redis_server.url.replace("://", "://someone:hunter2@")
    store = open_store(with_password)
    with pytest.raises(Exception, match=r"redis://127\.0\.0\.1") as raised:
        store.services.lookup("bot")
    assert "hunter2" not in str(raised.value)
    store.close()
