"""What every store does, whichever backend keeps it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from session_proxy_middleware import ConfigError, Session, open_store
from session_proxy_middleware.models import Key
from session_proxy_middleware.rules.life import ENDED_KEPT
from session_proxy_middleware.stores.address import parse
from tests.stores.conftest import Face, hashed

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
URL = "http://10.0.3.7:8080"


def put(store: Face, name: str, *, ends_in: float, state: Any = "running") -> Session:
    """A session whose time to live is another than one may register."""
    origin, base = parse(URL)
    now = time.time()
    session = Session(
        id=ID,
        service=name,
        origin=origin,
        base_path=base,
        epoch=1,
        state=state,
        registered_at=now + ends_in,
        expires_at=now + ends_in,
    )
    store.store.backend.put_session(session).run()
    return session


def test_a_service_is_known_until_it_is_removed(store: Face) -> None:
    assert store.services.lookup("bot") is None
    store.services.put("bot", ready=False)
    assert store.services.lookup("bot").ready is False
    store.services.put("bot")
    assert store.services.lookup("bot").ready is True
    assert store.services.remove("bot") is True
    assert store.services.remove("bot") is False
    assert store.services.lookup("bot") is None


def test_services_are_listed_by_name(store: Face) -> None:
    for name in ("b", "ü", "a"):
        store.services.put(name, ready=name != "a")
    listed = [(each.name, each.ready) for each in store.services.list()]
    assert listed == [("a", False), ("b", True), ("ü", True)]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "a\n",
        "\0",
        None,
        3,
        ".",
        "..",
        "bot[1]",
        "bot*",
        "b?t",
        "bot]",
        "\udcff",
    ],
)
def test_a_service_name_that_no_path_can_hold_is_refused(
    store: Face, name: Any
) -> None:
    with pytest.raises(ConfigError, match="a service's name"):
        store.services.put(name)
    with pytest.raises(ConfigError, match="a service's name"):
        store.sessions.register(name, ID, URL)


def test_registering_creates_an_unknown_service_and_leaves_a_known_one(
    store: Face,
) -> None:
    store.services.put("known", ready=False)
    for name in ("known", "new"):
        store.sessions.register(name, ID, URL)
    assert store.services.lookup("known").ready is False
    assert store.services.lookup("new").ready is True


@pytest.mark.parametrize(
    "upstream",
    [URL, URL + "/base", "https://[::1]:9", "unix:///s.sock", "unix:///s:/b"],
)
def test_a_session_is_found_as_it_was_registered(store: Face, upstream: str) -> None:
    session = store.sessions.register("bot", ID.upper(), upstream, ttl=60)
    found = store.sessions.lookup("bot", ID)
    assert found == session
    assert (found.id, found.state, found.ttl) == (ID, "running", 60.0)
    assert found.expires_at == pytest.approx(time.time() + 60, abs=5)
    assert store.sessions.lookup("other", ID) is None


def test_a_session_of_the_same_id_is_replaced_and_has_another_epoch(
    store: Face,
) -> None:
    first = store.sessions.register("bot", ID, URL)
    second = store.sessions.register("bot", ID, URL)
    assert store.sessions.lookup("bot", ID) == second
    assert first.pool_key != second.pool_key


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("ttl", value) for value in (0, -1, float("inf"), "60", None, True)),
        *(("state", value) for value in ("ended", "draining", "", None)),
    ],
)
def test_a_wrong_option_of_a_session_is_named(
    store: Face, option: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=option):
        store.sessions.register("bot", ID, URL, **{option: value})


def test_a_session_that_has_ended_is_not_found(store: Face) -> None:
    store.sessions.register("bot", ID, URL)
    assert store.sessions.end("bot", ID.upper()) is True
    assert store.sessions.lookup("bot", ID) is None
    assert store.sessions.end("bot", ID) is False
    assert store.sessions.touch("bot", ID) is False
    assert store.sessions.drain("bot", ID) is False
    assert store.sessions.end("bot", "unknown") is False


def test_a_session_ends_by_itself_when_its_time_is_over(store: Face) -> None:
    put(store, "bot", ends_in=-1)
    assert store.sessions.lookup("bot", ID) is None
    assert store.sessions.touch("bot", ID) is False
    assert store.sessions.end("bot", ID) is False
    assert [each.state for each in store.sessions.list()] == ["ended"]


def test_of_many_sessions_those_that_have_ended_are_told(store: Face) -> None:
    names = ["runs", "drains", "ends", "forgotten", "anew"]
    known = {name: store.sessions.register(name, ID, URL) for name in names}
    over = put(store, "over", ends_in=-1)
    store.sessions.drain("drains", ID)
    store.sessions.end("ends", ID)
    store.sessions.register("anew", ID, URL)
    known["forgotten"] = replace(known["forgotten"], service="never")
    gone = store.sessions.ended([*known.values(), over])
    assert [each.service for each in gone] == ["ends", "never", "over"]
    assert store.sessions.ended([]) == []


def test_a_touch_begins_its_time_anew(store: Face) -> None:
    put(store, "bot", ends_in=20)
    assert store.sessions.touch("bot", ID) is True
    found = store.sessions.lookup("bot", ID)
    assert found.expires_at == pytest.approx(time.time() + 7200, abs=5)
    assert store.sessions.touch("bot", ID, ttl=90) is True
    found = store.sessions.lookup("bot", ID)
    assert (found.ttl, found.epoch) == (90.0, 1)
    assert found.expires_at == pytest.approx(time.time() + 90, abs=5)
    with pytest.raises(ConfigError, match="ttl"):
        store.sessions.touch("bot", ID, ttl=0)


def test_a_session_goes_from_starting_to_running_to_draining(store: Face) -> None:
    store.sessions.register("bot", ID, URL, state="starting")
    assert store.sessions.lookup("bot", ID).state == "starting"
    assert store.sessions.ready("bot", ID) is True
    assert store.sessions.lookup("bot", ID).state == "running"
    assert store.sessions.ready("bot", ID) is False
    assert store.sessions.drain("bot", ID) is True
    assert store.sessions.lookup("bot", ID).state == "draining"
    assert store.sessions.drain("bot", ID) is False
    assert store.sessions.ready("bot", ID) is False
    assert store.sessions.end("bot", ID) is True


def test_a_probe_confirms_the_registration_that_it_reached_alone(store: Face) -> None:
    old = store.sessions.register("bot", ID, URL, state="starting")
    new = store.sessions.register("bot", ID, URL, state="starting")
    assert store.sessions.confirm(old) is False
    assert store.sessions.lookup("bot", ID).state == "starting"
    assert store.sessions.confirm(new) is True
    assert store.sessions.lookup("bot", ID).state == "running"


def test_sessions_are_listed_page_by_page(store: Face) -> None:
    names = set()
    for service in ("a", "b", "c"):
        for _ in range(4):
            names.add(store.sessions.register(service, str(uuid.uuid4()), URL).name)
    seen: list[str] = []
    while page := store.sessions.list(limit=5, after=seen[-1] if seen else ""):
        assert len(page) <= 5
        seen += [each.name for each in page]
    assert len(seen) == 12
    assert set(seen) == names
    of_b = [each.name for each in store.sessions.list(service="b")]
    assert of_b == [name for name in seen if name.startswith("b/")]
    rest = store.sessions.list(service="b", after=of_b[1])
    assert [each.name for each in rest] == of_b[2:]
    assert store.sessions.list(service="nobody") == []


def test_sessions_are_listed_by_their_state(store: Face) -> None:
    for service, state in (("a", "starting"), ("b", "running"), ("c", "running")):
        store.sessions.register(service, ID, URL, state=state)
    store.sessions.register("d", ID, URL)
    store.sessions.drain("c", ID)
    store.sessions.end("d", ID)
    put(store, "e", ends_in=-1)

    def named(**filters: Any) -> list[str]:
        return [each.service for each in store.sessions.list(**filters)]

    assert named(state="starting") == ["a"]
    assert named(state="running") == ["b"]
    assert named(state="draining") == ["c"]
    assert named(state="ended") == ["d", "e"]
    assert named(state="ended", limit=1) == ["d"]
    assert named(state="ended", service="e") == ["e"]
    assert named() == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("limit", 0), ("limit", True), ("limit", "3"), ("state", "gone")],
)
def test_a_wrong_filter_is_named(store: Face, option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        store.sessions.list(**{option: value})


def test_what_ended_long_ago_is_forgotten_when_another_begins(store: Face) -> None:
    put(store, "old", ends_in=-ENDED_KEPT - 10)
    put(store, "late", ends_in=-ENDED_KEPT + 60)
    store.sessions.register("new", ID, URL)
    assert [each.service for each in store.sessions.list()] == ["late", "new"]


def test_what_was_touched_is_not_forgotten_at_its_old_time(store: Face) -> None:
    put(store, "bot", ends_in=20)
    assert store.sessions.touch("bot", ID) is True
    put(store, "late", ends_in=ENDED_KEPT + 60)
    assert store.sessions.lookup("bot", ID) is not None


def test_the_last_activity_is_listed(store: Face) -> None:
    session = store.sessions.register("bot", ID, URL)
    assert store.sessions.list()[0].active_at is None
    store.sessions.note({("bot", ID): 1234.5, ("bot", "unknown"): 1.0})
    store.sessions.note({})
    assert store.sessions.list()[0].active_at == 1234.5
    assert [each.name for each in store.sessions.list()] == [session.name]
    store.sessions.register("bot", ID, URL)
    assert store.sessions.list()[0].active_at is None


def test_a_session_is_found_as_it_is_listed_also_when_it_has_ended(
    store: Face,
) -> None:
    assert store.sessions.find("bot", ID) is None
    store.sessions.register("bot", ID, URL)
    assert store.sessions.find("bot", ID).active_at is None
    store.sessions.note({("bot", ID): 1234.5})
    assert store.sessions.find("bot", ID.upper()) == store.sessions.list()[0]
    assert store.sessions.find("bot", ID).active_at == 1234.5
    store.sessions.end("bot", ID)
    assert store.sessions.find("bot", ID) == store.sessions.list()[0]
    assert store.sessions.find("bot", ID).state == "ended"
    put(store, "late", ends_in=-1)
    assert store.sessions.find("late", ID).state == "ended"


def test_what_is_told_survives_in_another_store_object(opened: Any) -> None:
    first = opened()
    # Memory is one object's.
    second = first if getattr(first.store, "immediate", False) else opened()
    first.sessions.register("bot", ID, URL)
    key = first.keys.create()
    assert second.services.lookup("bot").ready is True
    assert second.sessions.lookup("bot", ID).upstream == URL
    assert second.keys.lookup(hashed(key)).id == key.id
    second.sessions.end("bot", ID)
    second.keys.revoke(key.id)
    assert first.sessions.lookup("bot", ID) is None
    assert first.keys.lookup(hashed(key)) is None


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What so many threads get that begin together."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(10)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_many_who_change_the_same_one_changes_it(url: str) -> None:
    store = open_store(url)
    for _ in range(5):
        store.sessions.register("bot", ID, URL)
        ended = at_once(6, lambda _: store.sessions.end("bot", ID))
        assert ended.count(True) == 1
    store.close()


def test_changes_at_the_same_time_are_all_kept(url: str) -> None:
    store = open_store(url)
    for _ in range(5):
        store.sessions.register("bot", ID, URL, state="starting", ttl=60)

        def change(number: int) -> bool:
            if number:
                return store.sessions.ready("bot", ID)
            return store.sessions.touch("bot", ID, ttl=600)

        assert at_once(2, change) == [True, True]
        found = store.sessions.lookup("bot", ID)
        assert found is not None
        assert (found.state, found.ttl) == ("running", 600.0)
        id = store.keys.create(expires_at=time.time() + 9000).id

        def rotate(number: int, id: str = id) -> Key | None:
            return store.keys.rotate(id, overlap=100.0 * (number + 1))

        at_once(4, rotate)
        shown = store.keys.find(id)
        assert shown is not None
        assert shown.expires_at == pytest.approx(time.time() + 100, abs=20)
    store.close()


class Ear:
    """Hears what a store tells."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def listen(self, kind: str, value: Any) -> None:
        self.heard.append((kind, value))


def test_whoever_watches_is_told_what_changes_here(store: Face) -> None:
    ear, gone = Ear(), Ear()
    store.store.watch(gone.listen)
    del gone
    store.store.watch(ear.listen)
    store.services.put("bot")
    session = store.sessions.register("bot", ID, URL)
    store.sessions.drain("bot", ID)
    store.sessions.end("bot", ID)
    store.sessions.end("bot", ID)
    key = store.keys.create()
    store.keys.revoke(key.id)
    store.services.remove("bot")
    kinds = [kind for kind, _ in ear.heard]
    assert kinds == ["service", *["session"] * 3, "key", "key", "service"]
    states = [value.state for kind, value in ear.heard if kind == "session"]
    assert states == ["running", "draining", "ended"]
    assert ear.heard[1] == ("session", session)
    assert ear.heard[-2:] == [("key", key.id), ("service", "bot")]
