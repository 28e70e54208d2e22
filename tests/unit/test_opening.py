"""The flow by hand, for a session that does not run: starting, draining, in use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_proxy_middleware import Limits, Principal, Session, StoreUnavailable
from session_proxy_middleware.errors import ConnectFailed, UpstreamTimeout
from session_proxy_middleware.exchange import RoundTrip
from session_proxy_middleware.fence import FindAgain
from session_proxy_middleware.models import State
from session_proxy_middleware.opening import AwaitReady
from tests.unit.test_exchange_order import ALL, Head, World, slug
from tests.unit.values import ID, a_proxy, a_request, a_session


def in_state(state: State) -> Session:
    return replace(a_session(), state=state)


def test_a_session_that_is_starting_is_waited_for_once_it_has_a_place() -> None:
    starting, running = in_state("starting"), in_state("running")
    proxy = a_proxy(ready_wait=1, limits=Limits(per_session=1))
    world = World(FindSession=starting, AwaitReady=running)
    assert world.run(a_request(), proxy).status == 200
    assert world.asked == [*ALL[:3], AwaitReady, RoundTrip]
    assert world.steps[3] == AwaitReady(starting)
    trip = world.steps[-1]
    assert isinstance(trip, RoundTrip)
    assert trip.outbound.session is running
    assert proxy.limiter.in_flight == 0
    proxy.limiter.enter(starting, Principal(id="other"))
    full = World(FindSession=starting)
    assert slug(full.run(a_request(), proxy)) == "too_many_requests"
    assert full.asked == ALL[:3]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (in_state("starting"), (503, "session_starting")),
        (in_state("draining"), (503, "draining")),
        (None, (404, "session_not_found")),
        (OSError("db"), (503, "store_unavailable")),
        (StoreUnavailable("db"), (503, "store_unavailable")),
    ],
)
def test_what_the_wait_ends_with_decides(
    answer: Any, expected: tuple[int, str]
) -> None:
    proxy = a_proxy(ready_wait=1)
    world = World(FindSession=in_state("starting"), AwaitReady=answer)
    reply = world.run(a_request(), proxy)
    assert (reply.status, slug(reply)) == expected
    assert world.asked == [*ALL[:3], AwaitReady]
    assert proxy.limiter.in_flight == 0


@pytest.mark.parametrize(
    ("state", "wait", "expected"),
    [("starting", 0, "session_starting"), ("draining", 1, "draining")],
)
def test_what_is_not_waited_for_is_refused_at_once(
    state: State, wait: float, expected: str
) -> None:
    world = World(FindSession=in_state(state))
    assert slug(world.run(a_request(), a_proxy(ready_wait=wait))) == expected
    assert world.asked == ALL[:3]


def test_what_was_used_is_noted_and_what_was_refused_is_not() -> None:
    proxy = a_proxy()
    assert proxy.activity is not None
    World(FindSession=in_state("draining")).run(a_request(), proxy)
    World(RoundTrip=UpstreamTimeout("x")).run(a_request(), proxy)
    assert proxy.activity.sessions == {}
    assert not proxy.activity.due
    for _ in range(2):
        World().run(a_request(), proxy)
    assert proxy.activity.due
    assert list(proxy.activity.sessions) == [f"bot/{ID}"]
    assert list(proxy.activity.keys) == ["k1"]


def test_a_store_that_keeps_no_activity_is_told_none() -> None:
    proxy = a_proxy()
    proxy.activity = None
    assert World().run(a_request(), proxy).status == 200


def test_a_session_that_has_moved_and_is_starting_is_waited_for() -> None:
    world = World(
        FindAgain=replace(a_session(), state="starting"),
        AwaitReady=a_session(),
        RoundTrip=[ConnectFailed("x"), Head(201)],
    )
    assert world.run(a_request(), a_proxy(ready_wait=1)).status == 201
    assert world.asked == [*ALL, FindAgain, AwaitReady, RoundTrip]
