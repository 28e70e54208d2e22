"""How long sessions and keys are good for, by values alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_proxy_middleware.models import Key, Principal, Session, State
from session_proxy_middleware.rules import life
from tests.unit.values import a_session

NOW = 1000.0


def lived(state: State = "running", **changes: Any) -> Session:
    return replace(a_session(), state=state, **{"expires_at": NOW + 10, **changes})


@pytest.mark.parametrize(
    ("session", "alive", "shown"),
    [
        (lived(), True, "running"),
        (lived("starting"), True, "starting"),
        (lived("draining"), True, "draining"),
        (lived("ended", expires_at=NOW - 5), False, "ended"),
        (lived(expires_at=NOW), False, "ended"),
        (lived("starting", expires_at=NOW - 1), False, "ended"),
    ],
)
def test_a_session_lives_until_its_time_or_its_end(
    session: Session, alive: bool, shown: State
) -> None:
    assert life.alive(session, NOW) is alive
    assert life.seen_at(session, NOW).state == shown


def states(session: Session | None) -> State | None:
    return None if session is None else session.state


@pytest.mark.parametrize(
    ("before", "readied", "drained", "ended"),
    [
        ("starting", "running", "draining", "ended"),
        ("running", None, "draining", "ended"),
        ("draining", None, None, "ended"),
        ("ended", None, None, None),
    ],
)
def test_what_may_become_of_a_session(
    before: State, readied: State, drained: State, ended: State
) -> None:
    session = lived(before)
    assert states(life.readied(session, NOW)) == readied
    assert states(life.drained(session, NOW)) == drained
    assert states(life.ended(session, NOW)) == ended


def test_nothing_becomes_of_a_session_whose_time_is_over() -> None:
    session = lived("starting", expires_at=NOW)
    for change in (life.touched, life.readied, life.drained, life.ended):
        assert change(session, NOW) is None


def test_a_session_that_was_ended_shows_when() -> None:
    ended = life.ended(lived(), NOW)
    assert ended is not None
    assert ended.expires_at == NOW


def test_a_touch_keeps_the_time_to_live_or_takes_another() -> None:
    session = lived(ttl=60.0)
    same, other = life.touched(session, NOW), life.touched(session, NOW, 5.0)
    assert same is not None
    assert other is not None
    assert (same.ttl, same.expires_at) == (60.0, NOW + 60)
    assert (other.ttl, other.expires_at) == (5.0, NOW + 5)
    assert other.pool_key == session.pool_key


def test_readiness_belongs_to_one_registration() -> None:
    session = lived("starting", epoch=7)
    assert life.readied(session, NOW, 8) is None
    assert states(life.readied(session, NOW, 7)) == "running"


def a_key(**times: float | None) -> Key:
    return Key(id="k", digest=b"", principal=Principal(id="k"), **times)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "usable"),
    [
        (a_key(), True),
        (a_key(not_before=NOW), True),
        (a_key(not_before=NOW + 1), False),
        (a_key(expires_at=NOW + 1), True),
        (a_key(expires_at=NOW), False),
        (a_key(not_before=NOW - 1, expires_at=NOW + 1), True),
    ],
)
def test_a_key_is_usable_in_its_time(key: Key, usable: bool) -> None:
    assert life.usable(key, NOW) is usable


@pytest.mark.parametrize(
    ("before", "after"), [(None, NOW), (NOW + 5, NOW), (NOW, None), (NOW - 5, None)]
)
def test_a_key_never_lives_longer_by_expiring(
    before: float | None, after: float | None
) -> None:
    expiring = life.expiring(a_key(expires_at=before), NOW)
    assert (None if expiring is None else expiring.expires_at) == after
