"""The store in memory, and the addresses that sessions are registered with. What
every store does is in `tests/stores`."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from session_proxy_middleware import ConfigError, MemoryStore
from session_proxy_middleware.stores.address import parse
from tests.unit.values import ID

URL = "http://10.0.3.7:8080"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (URL, ("http", "10.0.3.7", 8080, b"10.0.3.7:8080", b"")),
        ("http://bot", ("http", "bot", 80, b"bot", b"")),
        ("http://bot:80/", ("http", "bot", 80, b"bot", b"")),
        ("HTTP://Bot", ("http", "bot", 80, b"bot", b"")),
        ("https://bot", ("https", "bot", 443, b"bot", b"")),
        ("https://bot:80/a/b/", ("https", "bot", 80, b"bot:80", b"/a/b")),
        ("http://[::1]:9", ("http", "::1", 9, b"[::1]:9", b"")),
        ("unix:///run/b.sock", ("unix", "/run/b.sock", 0, b"localhost", b"")),
        ("unix:///run/b.sock:/x", ("unix", "/run/b.sock", 0, b"localhost", b"/x")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[Any, ...]) -> None:
    origin, base = parse(url)
    found = (origin.scheme, origin.host, origin.port, origin.authority, base)
    assert found == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bot:8080",
        "ftp://bot",
        "http://",
        "http://bot:0",
        "http://bot:99999",
        "http://bot:x",
        "http://user:pw@bot",
        "http://bot/?q",
        "http://bot/#f",
        "http://bot/a b",
        "http://bot/../x",
        "http://bot/./x",
        "http://b ot",
        "http://bot\r\nx",
        "http://[::1",
        "http://bot//x",
        "unix://run/b.sock",
        "unix:///",
        "unix:/run/b.sock",
        "unix:///a\0b",
        "unix:///run/b.sock:x",
        None,
        3,
        b"http://bot",
    ],
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(ConfigError, match="upstream"):
        MemoryStore().sessions.register("bot", ID, url)


@pytest.mark.parametrize(
    "url", [URL, URL + "/base", "https://[::1]:9", "unix:///s.sock", "unix:///s:/b"]
)
def test_a_session_remembers_its_address(url: str) -> None:
    session = MemoryStore().sessions.register("bot", ID, url)
    assert parse(session.upstream) == parse(url)


@pytest.mark.parametrize("id", ["", "a/b", "a b", "ü", "\n", None, 3])
def test_an_id_that_no_path_can_hold_is_refused(id: Any) -> None:
    with pytest.raises(ConfigError, match="a session's id"):
        MemoryStore().sessions.register("bot", id, URL)


def test_memory_answers_without_a_copy() -> None:
    store = MemoryStore()
    session = store.sessions.register("bot", ID, URL)
    assert store.sessions.lookup("bot", ID) is session
    assert store.immediate


def test_one_that_ended_early_is_forgotten_once() -> None:
    """It is due twice: at its end, and at the end it was registered with."""
    store = MemoryStore()
    session = store.sessions.register("bot", ID, URL, ttl=60)
    store.sessions.end("bot", ID)
    later = replace(session, service="other", registered_at=time.time() + 9000)
    store.backend.put_session(later).run()
    assert [each.service for each in store.sessions.list()] == ["other"]


def test_threads_may_share_a_store() -> None:
    store = MemoryStore()

    def work(number: int) -> None:
        for turn in range(50):
            store.sessions.register(f"s{number}", ID, f"http://h:{turn + 1}")
            store.keys.create()
            store.sessions.end(f"s{(number + 1) % 4}", ID)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = [each.name for each in store.sessions.list(state="running")]
    assert set(known) <= {f"s{number}/{ID}" for number in range(4)}
    assert len(store.keys.list(limit=1000)) == 200
