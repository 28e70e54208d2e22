"""Services and public keys."""

from __future__ import annotations

import time

import pytest

from session_proxy_middleware import MemoryStore
from session_proxy_middleware.rules.credential import digest

from .serving import Caller

SECRET = "pk_mine_0123456789abcdef0123456789abcdef"


def opens(store: MemoryStore, secret: str) -> bool:
    return store.keys.lookup(digest(secret.encode())) is not None


def test_a_service_is_put_shown_listed_and_removed(
    call: Caller, store: MemoryStore
) -> None:
    assert call("GET", "/services/bot").refusal[:3] == (404, "404", "service_not_found")
    made = call("PUT", "/services/bot", {"ready": False})
    assert (made.status, made.json) == (201, {"name": "bot", "ready": False})
    assert store.services.lookup("bot") is not None
    changed = call("PUT", "/services/bot")
    assert (changed.status, changed.json) == (200, {"name": "bot", "ready": True})
    assert call("GET", "/services/bot").json == changed.json
    assert call("GET", "/services").json == {"services": [changed.json], "next": None}
    assert call("DELETE", "/services/bot").status == 204
    assert store.services.lookup("bot") is None
    assert call("DELETE", "/services/bot").refusal[0] == 404


def test_services_are_listed_by_name_in_pages(call: Caller, store: MemoryStore) -> None:
    for name in ("c", "a", "ü", "b"):
        store.services.put(name)
    first = call("GET", "/services?limit=3").json
    assert [each["name"] for each in first["services"]] == ["a", "b", "c"]
    assert first["next"] == "c"
    rest = call("GET", "/services?limit=3&after=c").json
    assert [each["name"] for each in rest["services"]] == ["ü"]
    assert rest["next"] is None


def test_the_secret_of_a_key_is_shown_once_and_its_digest_never(
    call: Caller, store: MemoryStore
) -> None:
    made = call("POST", "/keys", {"services": ["bot-*"], "methods": ["get", "POST"]})
    secret = made.json["secret"]
    id = made.json["id"]
    assert (made.status, made.headers["location"]) == (201, f"/keys/{id}")
    assert secret.startswith(f"pk_{id}_")
    assert opens(store, secret)
    shown = call("GET", f"/keys/{id}")
    assert shown.json == {
        key: value for key, value in made.json.items() if key != "secret"
    }
    assert shown.json["services"] == ["bot-*"]
    assert shown.json["methods"] == ["GET", "POST"]
    assert call("GET", "/keys").json == {"keys": [shown.json], "next": None}
    known = digest(secret.encode())
    for answer in (made, shown, call("GET", "/keys")):
        assert known.hex().encode() not in answer.body


def test_a_key_may_be_all_that_a_store_knows(call: Caller, store: MemoryStore) -> None:
    soon = time.time() + 60
    whole = {
        "services": ["a", "b"],
        "methods": None,
        "paths": ["/status"],
        "secret": SECRET,
        "not_before": None,
        "expires_at": soon,
    }
    made = call("POST", "/keys", whole).json
    assert {name: made[name] for name in whole} == whole
    assert opens(store, SECRET)
    taken = call("POST", "/keys", {"secret": SECRET})
    sentence = "secret is the secret of another key"
    assert taken.refusal == (409, "SP-409-CONFLICT", "conflict", sentence)


def test_a_rotated_key_has_a_successor_of_the_same_scopes(
    call: Caller, store: MemoryStore
) -> None:
    old = call("POST", "/keys", {"services": ["bot"], "paths": ["/a"]}).json
    new = call("POST", f"/keys/{old['id']}/rotate", {"overlap": 60})
    assert (new.status, new.headers["location"]) == (201, f"/keys/{new.json['id']}")
    assert new.json["id"] != old["id"] and new.json["secret"] != old["secret"]
    assert (new.json["services"], new.json["paths"]) == (["bot"], ["/a"])
    expires = call("GET", f"/keys/{old['id']}").json["expires_at"]
    assert time.time() < expires <= time.time() + 60
    assert opens(store, old["secret"]) and opens(store, new.json["secret"])
    call("POST", f"/keys/{old['id']}/rotate", {"overlap": 0})
    assert not opens(store, old["secret"])


def test_a_revoked_key_is_gone(call: Caller, store: MemoryStore) -> None:
    made = call("POST", "/keys").json
    assert call("DELETE", f"/keys/{made['id']}").status == 204
    assert not opens(store, made["secret"])
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")]:
        refused = call(method, f"/keys/{made['id']}{path}").refusal
        assert refused == (404, "404", "key_not_found", "Key not found")


def test_when_a_key_was_last_used_is_shown(call: Caller, store: MemoryStore) -> None:
    id = store.keys.create().id
    store.keys.note({id: 1234.5})
    assert call("GET", f"/keys/{id}").json["used_at"] == 1234.5
    assert call("GET", "/keys").json["keys"][0]["used_at"] == 1234.5


def test_keys_come_in_pages(call: Caller, store: MemoryStore) -> None:
    ids = sorted(store.keys.create().id for _ in range(5))
    first = call("GET", "/keys?limit=3").json
    rest = call("GET", f"/keys?limit=3&after={first['next']}").json
    listed = [each["id"] for each in (*first["keys"], *rest["keys"])]
    assert (listed, rest["next"]) == (ids, None)


@pytest.mark.parametrize("secret", ["short", "pk_" + "é" * 30])
def test_a_refused_secret_is_not_repeated(call: Caller, secret: str) -> None:
    refused = call("POST", "/keys", {"secret": secret})
    assert refused.refusal[0] == 400
    assert refused.refusal[3].startswith("secret must ")
    assert secret not in refused.refusal[3]
