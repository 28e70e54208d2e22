"""Services, sessions and keys: made, shown, changed and ended by the managing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from session_proxy_middleware.rules.credential import digest

from .running import SESSION, UPSTREAM, Command, cells, column

CHOSEN = "mine_0123456789abcdef0123456789abcdef"


def test_a_service_is_made_shown_held_back_and_removed(managing: Command) -> None:
    assert cells(managing.ok("services", "create", "bot")) == [
        ["service", "ready"],
        ["bot", "yes"],
    ]
    created = managing.one("services", "create", "new one", "--not-ready")
    assert created == {"name": "new one", "ready": False}
    assert cells(managing.ok("services", "list"))[1:] == [
        ["bot", "yes"],
        ["new one", "no"],
    ]
    assert managing.one("services", "ready", "new one")["ready"] is True
    assert managing.one("services", "not-ready", "bot")["ready"] is False
    store = managing.store()
    assert [(each.name, each.ready) for each in store.services.list()] == [
        ("bot", False),
        ("new one", True),
    ]
    store.close()
    removed = managing.ok("services", "remove", "bot")
    assert removed == "removed 'bot': its sessions answer 404\n"
    assert managing.one("services", "remove", "new one")["removed"] is True
    assert managing.json("services", "list") == []


def test_a_session_is_made_shown_and_led_through_its_life(managing: Command) -> None:
    made = managing.one(
        *("sessions", "create", "bot", f"{UPSTREAM}/base", "--id", SESSION.upper()),
        *("--starting", "--ttl", "30m"),
    )
    assert (made["id"], made["upstream"]) == (SESSION, f"{UPSTREAM}/base")
    assert (made["state"], made["ttl"]) == ("starting", 1800.0)
    assert made["expires_at"] == pytest.approx(time.time() + 1800, abs=60)
    name = ("bot", SESSION)
    assert managing.one("sessions", "show", *name) == made
    assert managing.one("sessions", "ready", *name)["state"] == "running"
    touched = managing.one("sessions", "touch", *name, "--ttl", "2h")
    assert touched["expires_at"] == pytest.approx(time.time() + 7200, abs=60)
    assert column(managing.ok("sessions", "drain", *name), "state") == ["draining"]
    said = managing.fails(1, "sessions", "drain", *name)
    assert f"bot/{SESSION} is draining, so nothing was changed" in said
    assert managing.one("sessions", "end", *name)["state"] == "ended"
    assert managing.one("sessions", "show", *name)["state"] == "ended"
    said = managing.fails(1, "sessions", "touch", *name)
    assert "is ended, so nothing was changed" in said


def test_sessions_are_listed_by_filters_and_page_by_page(managing: Command) -> None:
    store = managing.store()
    for service in ("a", "b"):
        for number in range(3):
            store.sessions.register(service, f"s{number}", UPSTREAM)
    store.sessions.drain("a", "s1")
    store.close()
    assert column(managing.ok("sessions", "list", "--service", "b"), "id") == [
        *("s0", "s1", "s2")
    ]
    assert [each["id"] for each in managing.json("sessions", "list")] == [
        *("s0", "s1", "s2") * 2
    ]
    draining = managing.json("sessions", "list", "--state", "draining")
    assert [each["service"] for each in draining] == ["a"]
    done = managing("sessions", "list", "--limit", "4")
    assert column(done.out, "id") == ["s0", "s1", "s2", "s0"]
    assert done.err == "session-proxy: there are more: --after b/s0, or --all\n"
    done = managing("sessions", "list", "--limit", "4", "--after", "b/s0")
    assert column(done.out, "id") == ["s1", "s2"]
    assert done.err == ""
    assert len(managing.json("sessions", "list", "--all", "--limit", "1")) == 6


def test_a_session_without_an_id_gets_a_new_one(here: Command) -> None:
    ids = {here.one("sessions", "create", "b", UPSTREAM)["id"] for _ in range(2)}
    assert {len(id) for id in ids} == {36}
    assert len(ids) == 2


def test_a_key_is_made_shown_once_rotated_and_revoked(managing: Command) -> None:
    made = managing(
        *("keys", "create", "--service", "bot-*", "--service", "x"),
        *("--method", "get", "--path", "/status", "--expires-in", "7d"),
    )
    table, _, secret = made.out.rstrip("\n").rpartition("\n\n")
    (id,) = column(table, "key")
    assert secret.startswith(f"pk_{id}_")
    assert "shown this once" in made.err
    store = managing.store()
    key = store.keys.lookup(digest(secret.encode()))
    assert key is not None and key.id == id
    assert key.principal.services == ("bot-*", "x")
    assert key.principal.methods == frozenset({"GET"})
    assert key.principal.paths == ("/status",)
    assert key.expires_at == pytest.approx(time.time() + 604_800, abs=60)

    listed = managing("keys", "list")
    assert column(listed.out, "services") == ["bot-*,x"]
    assert column(listed.out, "state") == ["good"]
    shown = managing.one("keys", "show", id)
    assert "digest" not in shown and "secret" not in shown
    assert secret.removeprefix(f"pk_{id}_") not in listed.out + listed.err

    successor = managing.one("keys", "rotate", id, "--overlap", "0")
    assert store.keys.lookup(digest(secret.encode())) is None
    again = store.keys.lookup(digest(successor["secret"].encode()))
    assert again is not None and again.principal.services == ("bot-*", "x")
    assert column(managing.ok("keys", "show", id), "state") == ["expired"]

    assert managing.ok("keys", "revoke", id) == f"revoked {id}\n"
    assert managing.one("keys", "revoke", successor["id"])["revoked"] is True
    assert store.keys.lookup(digest(successor["secret"].encode())) is None
    store.close()


@pytest.mark.parametrize("way", ["file", "stdin", "environment"])
def test_a_secret_of_ones_own_is_no_argument_and_is_not_shown(
    on_file: Command, way: str
) -> None:
    (on_file.folder / "secret").write_text(f"{CHOSEN}\n")
    ways: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
        "file": (("--secret-file", "secret"), {}),
        "stdin": (("--secret-file", "-"), {"given": f"{CHOSEN}\n"}),
        "environment": ((), {"environment": {"SESSION_PROXY_SECRET": CHOSEN}}),
    }
    arguments, more = ways[way]
    done = on_file("keys", "create", *arguments, **more)
    assert done.status == 0
    assert CHOSEN not in done.out + done.err
    store = on_file.store()
    assert store.keys.lookup(digest(CHOSEN.encode())) is not None
    store.close()
    said = on_file.fails(2, "keys", "create", *arguments, **more)
    assert "secret is the secret of another key" in said


def test_a_short_secret_is_warned_about_in_one_line(on_file: Command) -> None:
    done = on_file("keys", "create", "--secret-file", "-", given=CHOSEN[:25])
    assert done.status == 0
    assert done.err == (
        "session-proxy: warning: a secret of 25 characters is short: 32 random ones "
        "leave nothing to guess\n"
    )
    for given, why in (("short", "at least 20"), ("", "there is nothing in")):
        done = on_file("keys", "create", "--secret-file", "-", given=given)
        assert done.status != 0
        assert why in done.err


def test_a_key_is_good_between_two_moments(here: Command) -> None:
    key = here.one(
        *("keys", "create", "--not-before", "2099-01-31T12:00:00+02:00"),
        *("--expires-at", "4102444800"),
    )
    assert key["not_before"] == 4073536800.0
    (row,) = cells(here.ok("keys", "list"))[1:]
    assert row[4:7] == ["not yet", "2099-01-31T10:00:00Z", "2100-01-01T00:00:00Z"]
    here.ok("keys", "create", "--expires-at", "9" * 14)
    assert "99999999999999.0" in column(here.ok("keys", "list"), "expires")


def test_what_a_terminal_would_obey_is_shown(here: Command) -> None:
    here.ok("keys", "create", "--service", "bot\x1b[2J")
    assert column(here.ok("keys", "list"), "services") == ["bot\\x1b[2J"]


def test_what_a_terminal_cannot_show_is_shown_by_its_number(on_file: Command) -> None:
    on_file.ok("services", "create", "übung")
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    said = on_file.ok("services", "list", environment=ascii_only)
    assert column(said, "service") == ["\\xfcbung"]
