"""Options by name: every one of them is there, and means what it means in Python."""

from __future__ import annotations

import inspect
import ssl
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trustme

from session_proxy_middleware import (
    CORS,
    Caching,
    ConfigError,
    Limits,
    MemoryStore,
    SessionProxy,
    Timeouts,
)
from session_proxy_middleware.settings import (
    GROUPS,
    PROXY,
    STORE,
    STORE_FILE,
    Given,
    given,
    options,
    proxy,
    store_url,
)

KEYS = {each.key for each in PROXY}
# A hook and a transport are code.
CODE = {"store", "authenticate", "transport", *GROUPS}


def said(**texts: str) -> dict[str, Given]:
    return {name: Given(text, name) for name, text in texts.items()}


@pytest.mark.parametrize(
    "name",
    [name for name in inspect.signature(SessionProxy).parameters if name not in CODE],
)
def test_every_option_of_a_proxy_has_a_flag(name: str) -> None:
    assert {"ssl_context": "ca_file"}.get(name, name) in KEYS


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_a_group_has_a_flag(group: str) -> None:
    for each in [each for each in fields(GROUPS[group]) if each.init]:
        assert f"{group}_{each.name}" in KEYS


def test_each_is_read_as_it_is_meant() -> None:
    found, wrong = options(
        said(
            prefix="/v1",
            session_id_pattern="[a-z]+",
            allowed_networks="10.0.0.0/8, fd00::/8",
            timeouts_connect="1.5",
            timeouts_total="none",
            limits_per_session="None",
            limits_body="8",
            caching_found="0",
            caching_entries="9",
            forwarded="append",
            reserved_paths="none",
            cors_allow_origins="https://a.example",
            cors_allow_credentials="YES",
            cors_max_age="3",
            drain="2",
            pipecat="off",
        )
    )
    assert wrong == []
    assert found == {
        "prefix": "/v1",
        "session_id_pattern": "[a-z]+",
        "allowed_networks": ["10.0.0.0/8", "fd00::/8"],
        "timeouts": Timeouts(connect=1.5, total=None),
        "limits": Limits(per_session=None, body=8),
        "caching": Caching(found=0, entries=9),
        "forwarded": "append",
        "reserved_paths": [],
        "cors": CORS(
            allow_origins=["https://a.example"], allow_credentials=True, max_age=3
        ),
        "drain": 2.0,
        "pipecat": False,
    }


def test_pipecats_own_options_may_be_given_all_the_same() -> None:
    store = MemoryStore()
    pipecat = proxy(store, said(pipecat="true", ready_wait="3"))
    assert (pipecat.ready_wait, pipecat.ready_path) == (3.0, "/readyz")
    assert proxy(store, said(pipecat="false")).ready_wait == 0


def test_certificates_to_trust_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    context = options(said(ca_file=str(file)))[0]["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    file.write_text("nothing of the kind")
    _, (wrong,) = options(said(ca_file=str(file)))
    assert "is not a file of certificates" in str(wrong)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ({"drain": "soon"}, "drain: 'soon' is not a number"),
        ({"limits_total": "1.5"}, "limits_total: '1.5' is not a whole number or"),
        ({"pipecat": "perhaps"}, "is not 'true' or 'false'"),
        ({"timeouts_idle": "-1"}, r"Timeouts\(idle=...\)"),
        ({"cookies": "eat"}, "cookies must be one of"),
        ({"cors_max_age": "1"}, "give --cors-allow-origins"),
    ],
)
def test_a_wrong_one_is_named(texts: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        proxy(MemoryStore(), said(**texts))


def test_what_a_flag_says_wins_and_an_empty_variable_says_nothing() -> None:
    environment = {
        "SESSION_PROXY_PREFIX": "/theirs",
        "SESSION_PROXY_DRAIN": "3",
        "SESSION_PROXY_COOKIES": "",
    }
    found = given(PROXY, {"prefix": "/mine", "drain": None}, environment)
    assert found == {
        "prefix": Given("/mine", "--prefix"),
        "drain": Given("3", "SESSION_PROXY_DRAIN"),
    }


@pytest.mark.parametrize(
    ("flags", "environment", "url"),
    [
        ({STORE.key: "sqlite:///a.db"}, {STORE.variable: "x"}, "sqlite:///a.db"),
        ({}, {STORE.variable: "redis://u:p@h"}, "redis://u:p@h"),
        ({STORE_FILE.key: "url"}, {STORE.variable: "x"}, "redis://u:p@filed"),
        ({}, {STORE_FILE.variable: "url"}, "redis://u:p@filed"),
    ],
)
def test_a_store_is_named_by_flag_file_or_variable(
    flags: dict[str, Any],
    environment: dict[str, str],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "url").write_text("redis://u:p@filed\n")
    assert store_url(flags, environment) == url


def test_a_file_that_names_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--store-file .*: No such file"):
        store_url({STORE_FILE.key: str(tmp_path / "nowhere")}, {})
    (tmp_path / "url").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no text"):
        store_url({STORE_FILE.key: str(tmp_path / "url")}, {})
