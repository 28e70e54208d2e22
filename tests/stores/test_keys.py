"""Keys, in every store: found, refused, rotated, listed."""

from __future__ import annotations

import hmac
import time
from typing import Any

import pytest

from session_proxy_middleware import ConfigError
from session_proxy_middleware.errors import SecretTaken
from session_proxy_middleware.rules.credential import digest
from tests.stores.conftest import Face, hashed


def test_a_key_is_found_by_its_hash_until_it_is_revoked(store: Face) -> None:
    key = store.keys.create(
        services=["bot"], methods=["get", "websocket"], paths=["/status"]
    )
    found = store.keys.lookup(hashed(key))
    assert found.secret is None
    assert found.created_at == pytest.approx(time.time(), abs=5)
    principal = found.principal
    assert (principal.id, principal.services) == (key.id, ("bot",))
    assert principal.methods == {"GET", "WEBSOCKET"}
    assert principal.paths == ("/status",)
    assert store.keys.lookup(digest(b"pk_other")) is None
    assert store.keys.revoke("unknown") is False
    assert store.keys.revoke(key.id) is True
    assert store.keys.revoke(key.id) is False
    assert store.keys.lookup(hashed(key)) is None
    assert store.keys.find(key.id) is None


def test_a_key_without_restrictions_has_none(store: Face) -> None:
    principal = store.keys.lookup(hashed(store.keys.create())).principal
    assert (principal.services, principal.restricted) == (("*",), False)


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
def test_a_key_is_valid_in_its_time_alone(
    store: Face, times: dict[str, float], valid: bool
) -> None:
    moments = {name: time.time() + at for name, at in times.items()}
    key = store.keys.create(**moments)
    assert (store.keys.lookup(hashed(key)) is not None) is valid
    shown = store.keys.find(key.id)
    assert {name: getattr(shown, name) for name in moments} == moments


def test_a_secret_has_its_id_and_256_bits_and_is_shown_once(store: Face) -> None:
    keys = [store.keys.create() for _ in range(5)]
    assert len({key.secret for key in keys}) == 5
    for key in keys:
        label, id, secret = key.secret.split("_", 2)
        assert (label, id) == ("pk", key.id)
        assert len(secret) == 43  # 32 bytes in base64url.
        assert store.keys.find(key.id).secret is None
        assert secret not in repr(key)
        assert key.digest.hex() not in repr(key)


def test_a_secret_of_ones_own_opens(store: Face) -> None:
    secret = "pk_mine_0123456789abcdef01234567"
    key = store.keys.create(secret=secret)
    assert key.secret == secret
    assert store.keys.lookup(digest(secret.encode())).id == key.id
    with pytest.raises(SecretTaken, match="secret is the secret of another"):
        store.keys.create(secret=secret)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("services", "bot"),
        ("services", []),
        ("services", [""]),
        ("methods", ["TRACE"]),
        ("methods", "GET"),
        ("paths", ["status"]),
        ("paths", "/status"),
        ("secret", "with space in it, and long enough"),
        ("secret", "pk_of_19_characters"),
        ("secret", ""),
        ("secret", 3),
        ("not_before", "now"),
        ("expires_at", float("nan")),
    ],
)
def test_a_wrong_option_of_a_key_is_named(store: Face, option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        store.keys.create(**{option: value})


@pytest.mark.parametrize("length", [20, 31])
def test_a_short_secret_of_ones_own_is_warned_about(store: Face, length: int) -> None:
    with pytest.warns(UserWarning, match=f"{length} characters is short"):
        key = store.keys.create(secret="pk_".ljust(length, "x"))
    assert store.keys.lookup(hashed(key)).id == key.id


def test_a_secret_of_ones_own_with_32_characters_is_enough(store: Face) -> None:
    key = store.keys.create(secret="pk_".ljust(32, "x"))  # A warning would fail it.
    assert store.keys.lookup(hashed(key)).id == key.id


def test_every_look_up_compares_once_and_in_constant_time_whatever_there_is(
    store: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GHSA-95c6-p277-p87g: what answers sooner for a key that is not there, or expired,
    tells which ones are."""
    right = store.keys.create()
    expired = store.keys.create(expires_at=1.0)
    revoked = store.keys.create()
    store.keys.revoke(revoked.id)
    wrong = digest(f"pk_{right.id}_{'x' * 43}".encode())
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def recorded(left: bytes, other: bytes) -> bool:
        compared.append((len(left), len(other)))
        return compare(left, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    for asked, found in (
        (hashed(right), True),
        (hashed(expired), False),
        (hashed(revoked), False),
        (wrong, False),
        (bytes(32), False),  # The dummy that stands in for a key.
    ):
        assert (store.keys.lookup(asked) is not None) is found
        assert compared.pop() == (32, 32)
        assert compared == []


def test_a_rotated_key_and_its_successor_are_both_good_for_a_while(
    store: Face,
) -> None:
    old = store.keys.create(services=["bot-*"], methods=["GET"], paths=["/x"])
    new = store.keys.rotate(old.id, overlap=60)
    assert new.id != old.id
    assert new.secret.startswith(f"pk_{new.id}_")
    found = store.keys.lookup(hashed(new))
    assert found.principal.services == ("bot-*",)
    assert (found.principal.id, found.principal.paths) == (new.id, ("/x",))
    still = store.keys.lookup(hashed(old))
    assert still.expires_at == pytest.approx(time.time() + 60, abs=5)
    store.keys.rotate(old.id, overlap=3600)
    assert store.keys.find(old.id).expires_at == still.expires_at
    store.keys.rotate(old.id, overlap=0)
    assert store.keys.lookup(hashed(old)) is None
    assert store.keys.rotate("unknown") is None
    for wrong in (-1, "1", float("nan")):
        with pytest.raises(ConfigError, match="overlap"):
            store.keys.rotate(new.id, overlap=wrong)


def test_keys_are_listed_page_by_page_with_their_last_use(store: Face) -> None:
    ids = sorted(store.keys.create().id for _ in range(5))
    store.keys.note({ids[0]: 12.5, "unknown": 1.0})
    store.keys.note({})
    first = store.keys.list(limit=3)
    second = store.keys.list(limit=3, after=first[-1].id)
    assert [key.id for key in (*first, *second)] == ids
    assert [key.used_at for key in first] == [12.5, None, None]
    assert store.keys.find(ids[0]).used_at == 12.5
    assert store.keys.list(after=ids[-1]) == []
