"""Sessions are registered, shown, changed and ended."""

from __future__ import annotations

import time
import uuid

import pytest

from session_proxy_middleware import MemoryStore
from session_proxy_middleware.admin.sessions import STATES

from .serving import UPSTREAM, Caller

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
ONE = f"/services/bot/sessions/{ID}"
NEW = {"upstream": UPSTREAM}


def test_a_session_is_registered_under_a_new_id(
    call: Caller, store: MemoryStore
) -> None:
    began = time.time()
    answer = call("POST", "/services/bot/sessions", NEW)
    assert answer.status == 201
    id = answer.json["id"]
    assert str(uuid.UUID(id)) == id
    assert answer.headers["location"] == f"/services/bot/sessions/{id}"
    registered = answer.json.pop("registered_at")
    assert began <= registered <= time.time()
    assert answer.json == {
        "service": "bot",
        "id": id,
        "upstream": UPSTREAM,
        "state": "running",
        "ttl": 7200.0,
        "registered_at": registered,
        "expires_at": registered + 7200,
        "active_at": None,
    }
    session = store.sessions.lookup("bot", id)
    assert session is not None and session.upstream == UPSTREAM
    assert store.services.lookup("bot") is not None
    assert call("GET", answer.headers["location"]).json == answer.json


def test_under_an_id_of_ones_own_it_is_created_once_and_replaced_then(
    call: Caller, store: MemoryStore
) -> None:
    first = call("PUT", ONE.upper().replace("/SERVICES/BOT/SESSIONS", ONE[:22]), NEW)
    assert (first.status, first.headers["location"]) == (201, ONE)
    old = store.sessions.lookup("bot", ID)
    unix = "unix:///run/bot.sock:/base"
    second = call("PUT", ONE, {"upstream": unix, "state": "starting", "ttl": 60})
    assert (second.status, "location" in second.headers) == (200, False)
    assert second.json["upstream"] == unix
    assert (second.json["state"], second.json["ttl"]) == ("starting", 60)
    new = store.sessions.lookup("bot", ID)
    assert old is not None and new is not None and new.epoch != old.epoch
    call("DELETE", ONE)
    assert call("PUT", ONE, NEW).status == 201


def test_what_became_of_it_is_shown_by_each_step_of_its_life(
    call: Caller, store: MemoryStore
) -> None:
    call("PUT", ONE, {**NEW, "state": "starting", "ttl": 60})
    for step, state in [
        ("POST /ready", "running"),
        ("POST /ready", "running"),
        ("POST /drain", "draining"),
        ("POST /drain", "draining"),
        ("DELETE ", "ended"),
        ("DELETE ", "ended"),
    ]:
        method, _, path = step.partition(" ")
        answer = call(method, ONE + path)
        assert (answer.status, answer.json["state"]) == (200, state), step
        assert call("GET", ONE).json == answer.json
    assert store.sessions.lookup("bot", ID) is None


def test_a_touch_begins_its_time_anew(call: Caller) -> None:
    put = call("PUT", ONE, {**NEW, "ttl": 60}).json
    touched = call("POST", ONE + "/touch").json
    assert put["expires_at"] < touched["expires_at"] <= time.time() + 60
    assert touched["ttl"] == 60
    longer = call("POST", ONE + "/touch", {"ttl": 600.5}).json
    assert (longer["ttl"], longer["registered_at"]) == (600.5, put["registered_at"])
    assert longer["expires_at"] > time.time() + 590


@pytest.mark.parametrize(
    ("state", "step", "sentence"),
    [
        ("draining", "ready", "the session is draining and cannot be made ready"),
        ("ended", "ready", "the session is ended and cannot be made ready"),
        ("ended", "drain", "the session is ended and cannot be drained"),
        ("ended", "touch", "the session is ended and cannot be touched"),
    ],
)
def test_what_its_state_forbids_is_a_conflict(
    call: Caller, store: MemoryStore, state: str, step: str, sentence: str
) -> None:
    store.sessions.register("bot", ID, UPSTREAM)
    assert (store.sessions.drain if state == "draining" else store.sessions.end)(
        "bot", ID
    )
    refused = call("POST", f"{ONE}/{step}")
    assert refused.refusal == (409, "SP-409-CONFLICT", "conflict", sentence)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/touch"),
        ("POST", "/ready"),
        ("POST", "/drain"),
    ],
)
def test_one_that_nobody_knows_is_not_found(
    call: Caller, method: str, path: str
) -> None:
    refused = call(method, ONE + path).refusal
    assert refused == (404, "404", "session_not_found", "Session not found")


def test_when_bytes_last_flowed_is_shown(call: Caller, store: MemoryStore) -> None:
    store.sessions.register("bot", ID, UPSTREAM)
    store.sessions.note({("bot", ID): 1234.5})
    assert call("GET", ONE).json["active_at"] == 1234.5
    assert call("GET", "/sessions").json["sessions"][0]["active_at"] == 1234.5


def test_pages_hold_every_session_once(call: Caller, store: MemoryStore) -> None:
    names = set()
    for number in range(7):
        session = store.sessions.register(f"bot-{number % 2}", str(number), UPSTREAM)
        names.add((session.service, session.id))
    for path, wanted in [
        ("/sessions", names),
        ("/services/bot-1/sessions", {name for name in names if name[0] == "bot-1"}),
        ("/services/nobody/sessions", set()),
    ]:
        found: list[tuple[str, str]] = []
        after, sizes = "", []
        while True:
            page = call("GET", f"{path}?limit=3&after={after}").json
            found += [(each["service"], each["id"]) for each in page["sessions"]]
            sizes.append(len(page["sessions"]))
            if page["next"] is None:
                break
            after = page["next"]
        assert len(found) == len(wanted) and set(found) == wanted
        assert sizes[:-1] == [3] * (len(sizes) - 1)
    # A page that is full and the last says so.
    assert call("GET", "/sessions?limit=7").json["next"] is None


def test_sessions_are_listed_by_their_state(call: Caller, store: MemoryStore) -> None:
    store.sessions.register("bot", "starting", UPSTREAM, state="starting")
    for state in STATES[1:]:
        store.sessions.register("bot", state, UPSTREAM)
    store.sessions.drain("bot", "draining")
    store.sessions.end("bot", "ended")
    for state in STATES:
        for path in ("/sessions", "/services/bot/sessions"):
            listed = call("GET", f"{path}?state={state}").json["sessions"]
            assert [(each["id"], each["state"]) for each in listed] == [(state, state)]


def test_names_are_spelled_in_urls_like_anything_else(call: Caller) -> None:
    answer = call("POST", "/services/b%C3%BC%20%25/sessions", NEW)
    assert answer.json["service"] == "bü %"
    where = answer.headers["location"]
    assert where == f"/services/b%C3%BC%20%25/sessions/{answer.json['id']}"
    assert call("GET", where).json == answer.json
    assert call("DELETE", where).json["state"] == "ended"
