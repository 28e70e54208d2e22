"""`check` names what is wrong and says what to do."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_proxy_middleware import open_store
from session_proxy_middleware.cli import check as command_check
from session_proxy_middleware.cli import main

from .running import UPSTREAM, Command, cells

Put = Callable[[str, str], None]
Check = Callable[..., list[list[str]]]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], without_settings: Put) -> Check:
    """Its findings; the status must fit them."""

    def run(*options: str) -> list[list[str]]:
        status = main(["check", "--json", *options])
        lines = capsys.readouterr().out.splitlines()
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
        wrong = any(each["result"] == "wrong" for each in found)
        assert status == (1 if wrong else 0)
        return [[each["about"], each["result"], each["detail"]] for each in found]

    return run


def of(found: list[list[str]], about: str) -> list[tuple[str, str]]:
    return [(result, detail) for name, result, detail in found if name == about]


def test_all_is_well(command: Command) -> None:
    store = command.store()
    store.sessions.register("bot", "s", UPSTREAM)
    store.keys.create()
    store.keys.create(expires_at=1.0)
    store.close()
    said = command.ok("check", "--prefix", "/v1", "--limits-total", "10")
    headings, *rows = cells(said)
    assert headings == ["about", "result", "detail"]
    assert {row[1] for row in rows} == {"ok"}
    assert {row[0]: row[2] for row in rows}["keys"] == "1 good now"
    assert "--prefix, --limits-total" in said
    assert command.url.rpartition("/")[2] in said


def test_what_a_new_store_lacks_is_a_warning(check: Check, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    found = check("--store", url)
    ((result, detail),) = of(found, "store")
    assert result == "warning" and "is not there yet" in detail
    assert list(tmp_path.iterdir()) == []
    store = open_store(url)
    store.services.put("held", ready=False)
    store.close()
    found = check("--store", url)
    assert of(found, "store")[0][0] == "ok"
    assert of(found, "services") == [("warning", "not ready, answering PCC-1001: held")]
    assert "session-proxy keys create" in of(found, "keys")[0][1]
    assert "none is running" in of(found, "sessions")[0][1]


def test_every_wrong_option_is_named(check: Check, without_settings: Put) -> None:
    without_settings("LIMITS_BODY", "much")
    found = check("--timeouts-idle", "0", "--cookies", "eat", "--port", "99999")
    wrong = [detail for result, detail in of(found, "options") if result == "wrong"]
    assert len(wrong) == 4
    for each in ("SESSION_PROXY_LIMITS_BODY", "idle", "cookies", "--port"):
        assert any(each in detail for detail in wrong)
    assert "--store sqlite:///path.db" in of(found, "store")[0][1]


def test_a_variable_that_is_no_option_is_a_warning(
    check: Check, without_settings: Put
) -> None:
    without_settings("TIMEOUT_IDLE", "3")
    assert of(check(), "environment") == [
        ("warning", "SESSION_PROXY_TIMEOUT_IDLE is no option: is it misspelt?")
    ]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://", "memory of one process"),
        ("nonsense", "store must be"),
        ("sqlite:////nowhere/at/all/store.db", "there is no /nowhere/at/all"),
        ("redis://u:hunter2@127.0.0.1:1/0", "redis://127.0.0.1:1/0: "),
    ],
)
def test_a_store_that_cannot_be_used_is_wrong(
    check: Check, without_settings: Put, url: str, why: str
) -> None:
    without_settings("STORE", url)
    ((result, detail),) = of(check(), "store")
    assert result == "wrong" and why in detail
    assert "hunter2" not in detail


def test_a_file_that_is_no_store_is_wrong(check: Check, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database" * 100)
    found = check("--store", f"sqlite:///{tmp_path}/store.db")
    ((result, detail),) = of(found, "store")
    assert result == "wrong" and "not a database" in detail and "does it run" in detail


def test_too_few_open_files_are_a_warning(check: Check) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, most))
    try:
        found = of(check("--limits-total", "501"), "open files")
        assert of(check("--limits-total", "500"), "open files") == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found[0][0] == "warning" and "ulimit -n" in found[0][1]


def test_without_its_server_serve_is_warned_about(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for an environment without uvicorn.
    monkeypatch.setattr(command_check, "find_spec", lambda name: None)
    ((result, detail),) = of(check(), "server")
    assert result == "warning" and "session-proxy-middleware[server]" in detail


def test_a_taken_port_is_not_what_it_looks_at(check: Check) -> None:
    """It may well be run beside the gateway."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert of(check("--port", port), "options") == [("ok", "--port")]
