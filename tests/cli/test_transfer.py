"""What a store holds goes out as lines and comes back into another, and works."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from session_proxy_middleware import StoreUnavailable
from session_proxy_middleware.cli import main
from session_proxy_middleware.rules.credential import digest
from session_proxy_middleware.stores.managed import ManagedStore
from session_proxy_middleware.stores.sessions import Sessions

from ..support.redis_server import RedisServer
from .running import SCRIPT, SESSION, UPSTREAM, Command

COUNT = 1203
"""More than two batches."""


def filled(store: ManagedStore) -> dict[str, str]:
    """Some of everything; the secrets of two keys."""
    store.services.put("held", ready=False)
    store.sessions.register("bot", SESSION, f"{UPSTREAM}/base", ttl=60)
    store.sessions.register("bot", "s-starting", "unix:///run/s:/b", state="starting")
    store.sessions.register("bot", "s-draining", UPSTREAM)
    store.sessions.drain("bot", "s-draining")
    store.sessions.register("bot", "s-ended", UPSTREAM)
    store.sessions.end("bot", "s-ended")
    store.sessions.note({("bot", SESSION): 1234.5})
    keys = [
        store.keys.create(services=["bot"], methods=["GET"], paths=["/x"]),
        store.keys.create(
            expires_at=4e9, secret="mine_0123456789abcdef0123456789abcdef"
        ),
    ]
    store.keys.note({keys[0].id: 12.5})
    return {key.id: str(key.secret) for key in keys}


def held(store: ManagedStore) -> list[Any]:
    """All that is in it, but for the epochs of its sessions."""
    sessions = [replace(each, epoch=0) for each in store.sessions.list()]
    return [store.services.list(), sessions, store.keys.list()]


@pytest.mark.parametrize("source", ["sqlite", "redis"])
def test_a_store_moves_whole_to_another(
    source: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.ask("FLUSHALL")
    both = [f"sqlite:///{tmp_path}/store.db", redis_server.url]
    here, there = both if source == "sqlite" else reversed(both)
    old, new = Command(here, tmp_path), Command(there, tmp_path)
    before, after = old.store(), new.store()
    secrets = filled(before)
    for part, count in (("services", 2), ("sessions", 4), ("keys", 2)):
        lines = old.ok(part, "export")
        assert lines.count("\n") == count
        assert not any(secret in lines for secret in secrets.values())
        (tmp_path / part).write_text(lines)
        told = new.ok(part, "import", part)
        assert told == f"imported {count}; 0 were there already and are as they were\n"
        again = new.one(part, "import", given=lines)
        assert again == {"imported": 0, "there": count}
    assert held(after) == held(before)
    for id, secret in secrets.items():
        found = after.keys.lookup(digest(secret.encode()))
        assert found is not None and found.id == id
    sessions = [each.sessions.lookup("bot", SESSION) for each in (before, after)]
    assert sessions[0] and sessions[1] and sessions[0].epoch != sessions[1].epoch
    before.close()
    after.close()


def line(**values: Any) -> str:
    record = {"service": "bot", "id": "s", "upstream": UPSTREAM, **values}
    return json.dumps(record)


def test_wrong_lines_are_named_and_then_nothing_is_imported(command: Command) -> None:
    lines = [
        "\ufeff" + line(id="good"),
        "",
        "{",
        line(upstream="ftp://x"),
        line(id="good"),
        line(secret="pk_1"),
    ]
    given = "\r\n".join(lines).encode() + b"\n\xff\xfe\n"
    done = command("sessions", "import", given=given)
    assert (done.status, done.out) == (1, "")
    *named, last = done.err.splitlines()
    assert [each.split(":")[1] for each in named] == [
        f" line {number}" for number in (3, 4, 5, 6, 7)
    ]
    for said, why in zip(
        named,
        ("is not JSON", "upstream", "the same as in line 1", "secret", "is no text"),
        strict=True,
    ):
        assert why in said
    assert last == "session-proxy: nothing was imported: correct these lines first"
    store = command.store()
    assert store.sessions.list() == []
    store.close()


def test_of_very_many_wrong_lines_some_are_named(on_file: Command) -> None:
    done = on_file("keys", "import", given="x" * 5 + "\n{}" * 50)
    assert done.status == 1
    assert done.err.count("\n") == 21
    assert "(31 more are wrong)" in done.err


def test_more_than_a_page_comes_out_and_goes_in_whole(command: Command) -> None:
    given = "\n".join(line(id=f"s{number}") for number in range(COUNT))
    told = command.one("sessions", "import", given=given)
    assert told == {"imported": COUNT, "there": 0}
    exported = command.ok("sessions", "export").splitlines()
    ids = {json.loads(each)["id"] for each in exported}
    assert len(exported) == COUNT and ids == {f"s{number}" for number in range(COUNT)}


def test_a_store_that_fails_half_way_says_how_far_it_came(
    on_file: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (on_file.folder / "lines").write_text(
        "\n".join(line(id=f"s{number}") for number in range(COUNT))
    )
    restore = Sessions.restore
    batches: list[int] = []

    def failing(self: Sessions, sessions: Any) -> int:
        # No store can be made to fail between two batches for certain.
        batches.append(len(sessions))
        if len(batches) == 2:
            raise StoreUnavailable("away")
        return restore(self, sessions)

    arguments = ["sessions", "import", str(on_file.folder / "lines")]
    arguments += ["--store", on_file.url]
    with monkeypatch.context() as patched:
        patched.setattr(Sessions, "restore", failing)
        assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "the store failed after 500 lines (away)" in said
    assert "import the same again" in said
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"imported": COUNT - 500, "there": 500}


def test_a_reader_who_leaves_early_ends_an_export_quietly(on_file: Command) -> None:
    given = "\n".join(line(id=f"s{number}") for number in range(COUNT))
    on_file.ok("sessions", "import", given=given)
    done = subprocess.run(
        ["sh", "-c", f"{SCRIPT} sessions export | head -n 1"],
        cwd=on_file.folder,
        env=on_file.environment(),
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_a_file_that_cannot_be_read_is_named(on_file: Command) -> None:
    said = on_file.fails(1, "keys", "import", "nowhere.jsonl")
    assert said == "session-proxy: nowhere.jsonl: No such file or directory\n"
