"""Options that are wrong, and secrets that are never shown."""

from __future__ import annotations

from typing import Any

import pytest

from session_proxy_middleware import ConfigError, MemoryStore
from session_proxy_middleware.admin import asgi, wsgi

from .serving import KEY

OTHER = KEY.replace("adm_", "ops_")
BOTH = pytest.mark.parametrize(
    "api", [asgi.AdminAPI, wsgi.AdminAPI], ids=["asgi", "wsgi"]
)


@BOTH
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "the admin API needs keys=[...] or authenticate=..., one of the two"),
        ({"keys": [KEY], "authenticate": str}, "the admin API needs keys=[...] or"),
        ({"keys": []}, "keys must hold an admin key: the admin API is never open"),
        ({"keys": {}}, "keys must hold an admin key: the admin API"),
        ({"keys": KEY}, "keys must be a list of admin keys"),
        ({"keys": 7}, "keys must be a list of admin keys, or"),
        ({"keys": [KEY[:19]]}, "admin key 'admin-1' must have at least 20 random"),
        ({"keys": [KEY, KEY]}, "admin key 'admin-2' is the same as another"),
        ({"keys": {"ops": KEY + "é"}}, "admin key 'ops' must be a token of letters"),
        ({"keys": {"ops": None}}, "admin key 'ops' must be a token of letters"),
        ({"keys": {"a\nb": KEY}}, "keys must have printable ids, not 'a\\nb'"),
        ({"keys": ["pk_" + KEY]}, "admin key 'admin-1' must not be a public key"),
        ({"authenticate": KEY}, "authenticate must be a callable, not str"),
    ],
)
def test_a_wrong_option_is_named_and_no_secret_shown(
    api: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        api(MemoryStore(), **options)
    assert str(raised.value).startswith(sentence)
    assert KEY[:19] not in str(raised.value)


@BOTH
@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("memory://", "store must be the proxy's own MemoryStore object"),
        ("mysql://x", "store must be a Store or a URL"),
        (object(), "store must be a store of this package"),
    ],
)
def test_a_store_must_be_one_that_the_proxy_can_share(
    api: Any, store: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        api(store, keys=[KEY])


@BOTH
def test_a_store_may_be_a_url(api: Any, tmp_path: Any) -> None:
    assert "SQLiteStore" in repr(api(f"sqlite:///{tmp_path}/s.db", keys=[KEY]))


@BOTH
def test_a_short_key_is_warned_of_where_it_was_written(api: Any) -> None:
    with pytest.warns(UserWarning, match="a secret of 20 characters") as warned:
        api(MemoryStore(), keys=[KEY[:20]])
    assert warned[0].filename == __file__


@BOTH
def test_no_repr_shows_a_key(api: Any) -> None:
    admin = api(MemoryStore(), keys={"portal": KEY, "ops": OTHER})
    shown = f"{admin!r} {admin.holders!r} {vars(admin)!r}"
    assert "portal, ops" in shown
    assert KEY not in shown and OTHER not in shown


@BOTH
def test_every_key_is_told_from_the_others(api: Any) -> None:
    holders = api(MemoryStore(), keys=[KEY, OTHER]).holders
    assert holders.holder(KEY.encode()) == "admin-1"
    assert holders.holder(OTHER.encode()) == "admin-2"
    assert holders.holder(KEY.encode() + b"x") is None
    assert holders.holder(b"") is None
