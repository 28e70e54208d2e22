"""What is wrong with a command is said in one line, with what to do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from session_proxy_middleware import open_store
from session_proxy_middleware.cli import main

from ..support.wire import PATIENCE
from .running import SCRIPT, SESSION, Command

Put = Callable[[str, str], None]
SECRET = "hunter2"


@pytest.fixture
def fails(
    capsys: pytest.CaptureFixture[str],
    without_settings: Put,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Run a command that fails with this status; the line that it says."""
    monkeypatch.chdir(tmp_path)

    def run(status: int, *arguments: str) -> str:
        try:
            found = main(arguments)
        except SystemExit as exited:
            found = int(str(exited.code))
        said = capsys.readouterr()
        assert (found, said.out) == (status, ""), said
        assert said.err.startswith("session-proxy: ") and said.err.count("\n") == 1
        return said.err

    return run


Fails = Callable[..., str]


def a_store(folder: Path) -> str:
    """A store that is there."""
    url = f"sqlite:///{folder}/store.db"
    store = open_store(url)
    store.services.put("there")
    store.close()
    return url


def test_without_a_store_it_says_how_to_give_one(fails: Fails) -> None:
    for command in (("keys", "list"), ("serve",), ("explain", "GET", "/x")):
        said = fails(2, *command)
        assert "--store sqlite:///path.db" in said and "SESSION_PROXY_STORE" in said


def test_memory_makes_no_sense_and_is_refused(
    fails: Fails, without_settings: Put
) -> None:
    without_settings("STORE", "memory://")
    for command in (("keys", "list"), ("serve",), ("explain", "GET", "/x")):
        said = fails(2, *command)
        assert "memory of one process" in said and "sqlite:///path.db" in said


def test_a_flag_wins_over_the_environment(
    fails: Fails, without_settings: Put, tmp_path: Path
) -> None:
    without_settings("STORE", "sqlite:///theirs.db")
    assert "theirs.db" in fails(1, "keys", "list")
    assert "mine.db" in fails(1, "keys", "list", "--store", "sqlite:///mine.db")
    (tmp_path / "url").write_text("sqlite:///filed.db\n")
    assert "filed.db" in fails(1, "keys", "list", "--store-file", "url")
    without_settings("STORE_FILE", "url")
    assert "mine.db" in fails(1, "keys", "list", "--store", "sqlite:///mine.db")
    both = fails(2, "keys", "list")
    assert "SESSION_PROXY_STORE and SESSION_PROXY_STORE_FILE, not both" in both


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@127.0.0.1:1",
        f"redis://127.0.0.1:1?password={SECRET}",
        f"redis://:{SECRET}/x@127.0.0.1",
    ],
)
def test_a_password_is_no_argument_and_is_never_printed(
    fails: Fails, without_settings: Put, tmp_path: Path, url: str
) -> None:
    said = fails(2, "keys", "list", "--store", url)
    assert "shows in the list of processes" in said and "--store-file" in said
    assert SECRET not in said
    (tmp_path / "url").write_text(url)
    status = 2 if "/x@" in url else 1
    assert SECRET not in fails(status, "keys", "list", "--store-file", "url")
    without_settings("STORE", url)
    assert SECRET not in fails(status, "keys", "list")


def test_a_store_that_does_not_answer_is_a_failure(fails: Fails) -> None:
    said = fails(1, "services", "list", "--store", "redis://127.0.0.1:1/0")
    assert "the store does not answer: redis://127.0.0.1:1/0: " in said


def test_a_file_that_is_not_there_is_not_made_by_looking(
    fails: Fails, tmp_path: Path
) -> None:
    for command in (("keys", "list"), ("sessions", "end", "bot", "x")):
        said = fails(1, *command, "--store", "sqlite:///misspelt.db")
        assert f"there is no {tmp_path}/misspelt.db" in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("sesions",), "invalid choice: 'sesions'"),
        (("services", "create"), "required: name"),
        (("services", "create", "a/b"), "one path segment"),
        (("services", "create", "a", SECRET), "too many arguments"),
        (("services", "create", "a", f"--secret={SECRET}"), "unknown option --secret"),
        (("services", "list", "--js"), "unknown option --js"),
        (("services", "show", "\udcff"), "is not UTF-8"),
        (("sessions", "create", "bot", "ftp://x"), "upstream"),
        (("sessions", "create", "bot", "http://x", "--ttl", "soon"), "'soon' is not"),
        (("sessions", "create", "bot", "http://x", "--ttl", "0"), "ttl"),
        (("sessions", "list", "--state", "gone"), "invalid choice"),
        (("sessions", "list", "--limit", "x"), "'x' is not a whole number"),
        (("keys", "create", "--method", "TRACE"), "methods must be among"),
        (("keys", "create", "--path", "status"), "paths must start with"),
        (("keys", "create", "--expires-at", "soon"), "is not a moment like"),
        (
            ("keys", "create", "--expires-at", "1", "--expires-in", "1"),
            "not allowed with",
        ),
        (("explain", "GET", "x"), "the URL must be"),
        (("explain", "GET", f"http://u:{SECRET}@h/x"), "no user or password"),
        (("explain", "GET", "/x", "-H", f"{SECRET}"), "must look like 'Name: value'"),
        (
            ("explain", "GET", "/x", "-H", f"Authorization: Bearer {SECRET}"),
            "shows in the list of processes",
        ),
        (("explain", "GET", "/x", "-H", f"cookie: a={SECRET}"), "-H @FILE"),
        (("explain", "GET", "/x", "--prefix", "x"), "prefix must be"),
        (("serve", "--port", "http"), "--port: 'http' is not a port"),
        (("serve", "--workers", "0"), "--workers must be"),
        (("serve", "--ssl-keyfile", "x"), "needs --ssl-certfile"),
        (("serve", "--drain", "x"), "--drain: 'x' is not a number"),
        (("serve", "--timeouts-idle", "0"), "Timeouts(idle=...)"),
        (("serve", "--ca-file", "nowhere.pem"), "is not a file of certificates"),
        (("serve", "--cors-max-age", "3"), "give --cors-allow-origins"),
        (("serve", "--pipecat", "perhaps"), "is not 'true' or 'false'"),
    ],
)
def test_a_wrong_command_is_told_in_a_line(
    fails: Fails,
    without_settings: Put,
    tmp_path: Path,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    without_settings("STORE", a_store(tmp_path))
    said = fails(2, *arguments)
    assert why in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("services", "show", "b"), "there is no service 'b'; "),
        (("services", "ready", "b"), "there is no service 'b'; "),
        (("services", "not-ready", "b"), "there is no service 'b'; "),
        (("services", "remove", "b"), "there is no service 'b'; "),
        (("sessions", "show", "b", SESSION), f"there is no session b/{SESSION}; "),
        (("sessions", "touch", "b", SESSION), f"there is no session b/{SESSION}; "),
        (("sessions", "ready", "b", SESSION), f"there is no session b/{SESSION}; "),
        (("sessions", "drain", "b", SESSION), f"there is no session b/{SESSION}; "),
        (("sessions", "end", "b", SESSION), f"there is no session b/{SESSION}; "),
        (("keys", "show", SECRET), "there is no key of this id; "),
        (("keys", "revoke", SECRET), "there is no key of this id; "),
        (("keys", "rotate", SECRET), "there is no key of this id; "),
        (("keys", "revoke", f"pk_1_{SECRET}"), "give the key's id alone"),
    ],
)
def test_what_is_not_there_is_a_failure(
    fails: Fails,
    without_settings: Put,
    tmp_path: Path,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    without_settings("STORE", a_store(tmp_path))
    said = fails(1, *arguments)
    assert why in said
    assert SECRET not in said


def test_a_wrong_variable_is_named(fails: Fails, without_settings: Put) -> None:
    without_settings("STORE", "sqlite:///store.db")
    without_settings("LIMITS_BODY", "much")
    assert "SESSION_PROXY_LIMITS_BODY: 'much' is not" in fails(2, "serve")


@pytest.mark.parametrize("branch", ["services", "sessions", "keys"])
def test_a_command_without_a_verb_shows_its_help(
    branch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([branch]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"usage: session-proxy {branch}" in said.err and "export" in said.err


def test_ctrl_c_ends_it_without_a_word(on_file: Command) -> None:
    pipe = on_file.folder / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        # A shell that has begun this in the background ignores SIGINT.
        ["env", "--default-signal=INT", SCRIPT, "keys", "import", str(pipe)],
        env=on_file.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 3 * PATIENCE
    descriptor = None
    while descriptor is None:
        assert process.poll() is None and time.monotonic() < end
        with contextlib.suppress(OSError):  # Nobody reads it yet.
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    os.close(descriptor)
    assert (process.returncode, out, err) == (130, b"", b"")
