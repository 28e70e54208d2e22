"""Notes of use are gathered and written together, seldom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, StoreUnavailable
from session_proxy_middleware.activity import Activity
from tests.unit.values import ID, a_session

PATIENCE = 10.0
URL = "http://10.0.3.7:8080"


class Written(MemoryStore):
    """Says when something has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.events = threading.Semaphore(0)
        self.failure: Exception | None = None
        note = self.sessions.note

        def noted(active_at: Any) -> None:
            self.events.release()
            if self.failure is not None:
                raise self.failure
            note(active_at)

        self.sessions.note = noted  # type: ignore[method-assign]


def test_what_is_noted_often_is_written_once_in_a_while() -> None:
    store = Written()
    session = store.sessions.register("bot", ID, URL)
    activity = Activity(store, keys=True, every=0.05)
    began = time.time()
    for _ in range(2):
        for _ in range(1000):
            activity.sessions[session.name] = session
            activity.begin()
        assert store.events.acquire(timeout=PATIENCE)
    assert not store.events.acquire(timeout=0.2)
    activity.flush()
    assert not store.events.acquire(blocking=False)
    [found] = store.sessions.list()
    assert found.active_at is not None
    assert found.active_at >= began


@pytest.mark.parametrize(
    ("failure", "logged"),
    [(StoreUnavailable("x"), 0), (OSError("x"), 0), (RuntimeError("x"), 1)],
)
def test_a_note_that_cannot_be_written_stops_nothing(
    failure: Exception, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Written()
    session = store.sessions.register("bot", ID, URL)
    activity = Activity(store, keys=True, every=0.01)
    store.failure = failure
    activity.sessions[session.name] = session
    activity.flush()
    assert len(caplog.records) == logged
    store.failure = None
    activity.sessions[session.name] = session
    activity.flush()
    assert store.sessions.list()[0].active_at is not None


def test_keys_are_noted_only_where_they_decide() -> None:
    store = MemoryStore()
    key = store.keys.create()
    for keys, used in ((False, False), (True, True)):
        activity = Activity(store, keys=keys)
        activity.keys[key.id] = True
        activity.flush()
        found = store.keys.find(key.id)
        assert found is not None
        assert (found.used_at is not None) is used


def test_a_store_that_keeps_nothing_wants_nothing() -> None:
    class Plain:
        services = sessions = keys = object()

    activity = Activity(Plain(), keys=True)  # type: ignore[arg-type]
    assert not activity.wanted
    activity.sessions["x"] = a_session()
    activity.keys["x"] = True
    activity.flush()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_writes_for_itself() -> None:
    activity = Activity(Written(), keys=True)
    activity.due = True
    child = os.fork()
    if child == 0:
        os._exit(0 if not activity.due else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert activity.due


def test_a_thread_that_cannot_start_costs_the_request_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    activity = Activity(Written(), keys=True)
    monkeypatch.setattr(threading.Thread, "start", full)
    activity.begin()
    assert not activity.due  # The next note tries again.


ABANDONED = """
from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.exchange import RoundTrip, exchange
from tests.unit.values import ID, a_request

store = MemoryStore()
key = store.keys.create()
store.sessions.register("bot", ID, "http://10.0.3.7:8080")
bearer = (b"authorization", b"Bearer " + key.secret.encode())
flow = exchange(a_request(headers=[bearer]), SessionProxy(store))
assert type(next(flow)) is RoundTrip
kept = [flow]
kept.append(kept)  # Nobody but the collector ends it, at the very end.
"""


def test_a_request_that_is_under_way_when_the_process_ends_does_not_hold_it() -> None:
    command = [sys.executable, "-c", ABANDONED]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, timeout=30).returncode == 0
