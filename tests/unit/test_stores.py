"""The store in memory, and the addresses that sessions are registered with."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from session_proxy_middleware import ConfigError, MemoryStore
from session_proxy_middleware.rules.credential import digest
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


def test_a_session_is_found_until_it_ends() -> None:
    store = MemoryStore()
    session = store.sessions.register("bot", ID.upper(), URL)
    assert session.id == ID
    assert session.name == f"bot/{ID}"
    assert store.sessions.lookup("bot", ID) is session
    assert store.sessions.lookup("other", ID) is None
    assert store.sessions.end("bot", ID.upper()) is True
    assert store.sessions.end("bot", ID) is False
    assert store.sessions.lookup("bot", ID) is None


def test_no_two_registrations_share_connections() -> None:
    store = MemoryStore()
    first = store.sessions.register("bot", ID, URL)
    second = store.sessions.register("bot", ID, URL)
    assert store.sessions.lookup("bot", ID) is second
    assert first.pool_key != second.pool_key


def test_registering_creates_an_unknown_service_and_leaves_a_known_one() -> None:
    store = MemoryStore()
    store.services.put("known", ready=False)
    for name in ("known", "new"):
        store.sessions.register(name, ID, URL)
    known, new = store.services.lookup("known"), store.services.lookup("new")
    assert (known and known.ready, new and new.ready) == (False, True)


@pytest.mark.parametrize("id", ["", "a/b", "a b", "ü", "\n", None, 3])
def test_an_id_that_no_path_can_hold_is_refused(id: Any) -> None:
    with pytest.raises(ConfigError, match="a session's id"):
        MemoryStore().sessions.register("bot", id, URL)


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "a\n", "\0", None, 3, ".", "..", "bot[1]", "bot*", "b?t", "bot]"],
)
def test_a_service_name_that_no_path_can_hold_is_refused(name: Any) -> None:
    store = MemoryStore()
    with pytest.raises(ConfigError, match="a service's name"):
        store.services.put(name)
    with pytest.raises(ConfigError, match="a service's name"):
        store.sessions.register(name, ID, URL)


def test_a_service_is_known_until_it_is_removed() -> None:
    store = MemoryStore()
    store.services.put("bot", ready=False)
    store.services.put("bot")
    found = store.services.lookup("bot")
    assert found is not None
    assert found.ready
    assert store.services.remove("bot") is True
    assert store.services.remove("bot") is False
    assert store.services.lookup("bot") is None


def hashed(secret: str | None) -> bytes:
    assert secret is not None
    return digest(secret.encode())


def test_a_key_is_found_by_its_hash_until_it_is_revoked() -> None:
    store = MemoryStore()
    key = store.keys.create(services=["bot"], methods=["get"], paths=["/status"])
    found = store.keys.lookup(hashed(key.secret))
    assert found is not None
    assert found.secret is None
    principal = found.principal
    assert (principal.services, principal.methods) == (("bot",), frozenset({"GET"}))
    assert principal.paths == ("/status",)
    assert store.keys.lookup(hashed("pk_other")) is None
    assert store.keys.revoke("unknown") is False
    assert store.keys.revoke(key.id) is True
    assert store.keys.revoke(key.id) is False
    assert store.keys.lookup(hashed(key.secret)) is None


def test_no_repr_shows_a_secret() -> None:
    key = MemoryStore().keys.create(secret="pk_mine")
    assert "pk_mine" not in repr(key)
    assert key.digest.hex() not in repr(key)
    assert str(key.digest) not in repr(key)


def test_generated_secrets_differ_and_are_tokens() -> None:
    keys = MemoryStore().keys
    secrets = {keys.create().secret for _ in range(50)}
    assert len(secrets) == 50
    assert all(secret and secret.startswith("pk_") for secret in secrets)


@pytest.mark.parametrize(
    ("times", "valid"),
    [
        ({"expires_at": 60}, True),
        ({"expires_at": -60}, False),
        ({"not_before": -60}, True),
        ({"not_before": 60}, False),
        ({"not_before": -60, "expires_at": 60}, True),
    ],
)
def test_a_key_is_valid_in_its_time_alone(times: dict[str, Any], valid: bool) -> None:
    keys = MemoryStore().keys
    moments: dict[str, Any] = {name: time.time() + at for name, at in times.items()}
    key = keys.create(**moments)
    assert (keys.lookup(hashed(key.secret)) is not None) is valid


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("services", "bot"),
        ("services", []),
        ("services", [""]),
        ("services", [3]),
        ("methods", ["TRACE"]),
        ("methods", "GET"),
        ("paths", ["status"]),
        ("paths", "/status"),
        ("secret", "with space"),
        ("secret", ""),
        ("secret", 3),
    ],
)
def test_a_wrong_option_of_a_key_is_named(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        MemoryStore().keys.create(**{option: value})


def test_a_secret_belongs_to_one_key() -> None:
    keys = MemoryStore().keys
    keys.create(secret="pk_mine")
    with pytest.raises(ConfigError, match="secret"):
        keys.create(secret="pk_mine")


def test_every_method_has_an_awaitable_twin() -> None:
    async def use() -> None:
        store = MemoryStore()
        await store.services.aput("bot", ready=True)
        assert await store.services.alookup("bot") is not None
        session = await store.sessions.aregister("bot", ID, URL)
        assert await store.sessions.alookup("bot", ID) is session
        assert await store.sessions.aend("bot", ID)
        key = await store.keys.acreate(services=["bot"])
        assert await store.keys.alookup(hashed(key.secret)) is not None
        assert await store.keys.arevoke(key.id)
        assert await store.services.aremove("bot")

    asyncio.run(use())


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
    epochs = [store.sessions.register("x", ID, URL).epoch for _ in range(2)]
    assert epochs == [201, 202]
