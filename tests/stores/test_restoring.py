"""What was exported comes back, into every store, and nothing that is there is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware import ConfigError, Key, Service, Session
from session_proxy_middleware.stores import lines
from tests.stores.conftest import Face, hashed

from .test_behaviour import ID, URL, Ear

OTHER = "57af5437-97a2-4646-9873-a5c5935bd706"
DIGEST = "ab" * 32


def test_a_session_is_shown_with_its_last_activity_also_when_it_has_ended(
    store: Face,
) -> None:
    assert store.sessions.find("bot", ID) is None
    session = store.sessions.register("bot", ID, URL)
    assert store.sessions.find("bot", ID.upper()) == session
    store.sessions.note({("bot", ID): 1234.5})
    assert store.sessions.find("bot", ID).active_at == 1234.5
    store.sessions.end("bot", ID)
    found = store.sessions.find("bot", ID)
    assert (found.state, found.active_at) == ("ended", 1234.5)
    assert found.expires_at == pytest.approx(time.time(), abs=5)


def test_one_whose_time_is_over_is_shown_as_ended(store: Face) -> None:
    line = {"service": "bot", "id": ID, "upstream": URL, "expires_at": 5}
    assert store.sessions.restore([lines.session_of_line(json.dumps(line))]) == 1
    assert store.sessions.find("bot", ID).state == "ended"


def test_services_come_back_and_those_that_are_there_are_left(store: Face) -> None:
    store.services.put("there", ready=False)
    exported = [Service(name="there"), Service(name="new", ready=False)]
    back = [lines.service_of_line(lines.service_line(each)) for each in exported]
    assert back == exported
    assert store.services.restore(back) == 1
    assert store.services.restore([]) == 0
    listed = [(each.name, each.ready) for each in store.services.list()]
    assert listed == [("new", False), ("there", False)]


@pytest.mark.parametrize("state", ["starting", "running", "draining", "ended"])
def test_a_session_comes_back_in_its_state_as_a_registration_of_its_own(
    store: Face, state: str
) -> None:
    store.sessions.register("bot", ID, "unix:///run/b.sock:/base", ttl=60)
    store.sessions.note({("bot", ID): 1234.5})
    (old,) = store.sessions.list()
    record = json.loads(lines.session_line(old))
    assert "epoch" not in record
    record["state"] = state
    record["service"] = "other"
    new = lines.session_of_line(json.dumps(record))
    assert new.epoch != old.epoch
    assert store.sessions.restore([new]) == 1
    found = store.sessions.find("other", ID)
    assert found == new
    assert (found.state, found.active_at) == (state, 1234.5)
    assert found.expires_at == old.expires_at
    assert (store.sessions.lookup("other", ID) is None) is (state == "ended")
    assert store.services.lookup("other") == Service(name="other")
    assert [each.state for each in store.sessions.list(service="other")] == [state]
    assert store.sessions.end("other", ID) is (state != "ended")


def test_a_session_that_is_there_is_left_as_it_is_also_when_it_has_ended(
    store: Face,
) -> None:
    there = store.sessions.register("bot", ID, URL)
    store.sessions.register("bot", OTHER, URL)
    store.sessions.end("bot", OTHER)
    store.services.remove("bot")
    line = {"service": "bot", "upstream": "http://10.9.9.9:1"}
    back = [
        lines.session_of_line(json.dumps({**line, "id": id})) for id in (ID, OTHER, "x")
    ]
    assert store.sessions.restore(back[:2]) == 0
    assert store.services.lookup("bot") is None
    assert store.sessions.restore(back) == 1
    assert store.sessions.lookup("bot", ID) == there
    assert store.sessions.lookup("bot", OTHER) is None
    assert store.sessions.lookup("bot", "x").upstream == "http://10.9.9.9:1"


def test_a_key_comes_back_without_its_secret_and_opens_what_it_opened(
    store: Face,
) -> None:
    key = store.keys.create(services=["bot-*"], methods=["GET"], paths=["/status"])
    store.keys.note({key.id: 12.5})
    (listed,) = store.keys.list()
    line = lines.key_line(listed)
    assert key.secret not in line
    store.keys.revoke(key.id)
    assert store.keys.lookup(hashed(key)) is None
    assert store.keys.restore([lines.key_of_line(line)]) == 1
    found = store.keys.lookup(hashed(key))
    assert found.principal == key.principal
    assert store.keys.find(key.id) == listed
    assert store.keys.list() == [listed]
    assert store.keys.rotate(key.id).principal.services == ("bot-*",)
    assert store.keys.revoke(key.id) is True


def test_a_key_whose_id_or_digest_is_there_is_left_as_it_is(store: Face) -> None:
    there = store.keys.create(services=["bot"])
    line = json.loads(lines.key_line(there))
    same_id = lines.key_of_line(json.dumps({**line, "digest": DIGEST}))
    same_digest = lines.key_of_line(json.dumps({**line, "id": "other"}))
    new = lines.key_of_line(json.dumps({**line, "id": "new", "digest": "cd" * 32}))
    assert store.keys.restore([same_id, same_digest]) == 0
    assert store.keys.restore([]) == 0
    assert store.keys.restore([same_id, new, new]) == 1
    assert {each.id for each in store.keys.list()} == {there.id, "new"}
    assert store.keys.find("other") is None
    assert store.keys.lookup(hashed(there)).id == there.id


def test_whoever_watches_is_told_of_what_came_back_alone(store: Face) -> None:
    store.services.put("there")
    ear = Ear()
    store.store.watch(ear.listen)
    store.services.restore([Service(name="there"), Service(name="new")])
    session = lines.session_of_line(f'{{"service":"b","id":"x","upstream":"{URL}"}}')
    key = lines.key_of_line(f'{{"id":"k","digest":"{DIGEST}","services":["b"]}}')
    for _ in range(2):
        store.sessions.restore([session])
        store.keys.restore([key])
    assert ear.heard == [("service", "new"), ("session", session), ("key", "k")]


READERS: dict[str, Callable[[str], Any]] = {
    "service": lines.service_of_line,
    "session": lines.session_of_line,
    "key": lines.key_of_line,
}
RIGHT: dict[str, dict[str, Any]] = {
    "service": {"name": "bot"},
    "session": {"service": "bot", "id": ID, "upstream": URL},
    "key": {"id": "k", "digest": DIGEST, "services": ["bot"]},
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("service", "name", "a/b"),
        ("service", "name", ["bot"]),
        ("service", "ready", 1),
        ("session", "service", "bot*"),
        ("session", "id", "a/b"),
        ("session", "upstream", "ftp://x"),
        ("session", "state", "gone"),
        ("session", "state", ["running"]),
        ("session", "ttl", 0),
        ("session", "expires_at", float("nan")),
        ("session", "expires_at", 10**400),
        ("session", "registered_at", "now"),
        ("session", "active_at", True),
        ("key", "id", "a b"),
        ("key", "id", 3),
        ("key", "digest", "ab"),
        ("key", "digest", DIGEST.upper()),
        ("key", "services", "bot"),
        ("key", "services", []),
        ("key", "methods", ["TRACE"]),
        ("key", "paths", ["status"]),
        ("key", "expires_at", -1),
        ("key", "used_at", "now"),
    ],
)
def test_a_line_with_a_wrong_value_is_refused_by_its_field(
    kind: str, field: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=field):
        READERS[kind](json.dumps({**RIGHT[kind], field: value}))


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ("{}", "lacks "),
        ('{"secret": "pk_1"}', "lacks"),
        ('{"name": "\\ud800"}', "a surrogate"),
    ],
)
def test_a_line_that_is_none_is_refused(kind: str, line: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        READERS[kind](line)


@pytest.mark.parametrize("kind", READERS)
def test_a_line_with_a_field_that_nobody_knows_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown fields: secret \(known are "):
        READERS[kind](json.dumps({**RIGHT[kind], "secret": "pk_1"}))


def test_lines_written_by_hand_need_no_more_than_names() -> None:
    service, session, key = (READERS[kind](json.dumps(RIGHT[kind])) for kind in RIGHT)
    assert service == Service(name="bot")
    assert isinstance(session, Session) and isinstance(key, Key)
    assert (session.state, session.ttl, session.active_at) == ("running", 7200.0, None)
    assert session.expires_at == pytest.approx(time.time() + 7200, abs=5)
    assert (key.principal.services, key.principal.restricted) == (("bot",), False)
    assert key.created_at == pytest.approx(time.time(), abs=5)
    ended = lines.session_of_line(json.dumps({**RIGHT["session"], "state": "ended"}))
    assert ended.expires_at == pytest.approx(time.time(), abs=5)
