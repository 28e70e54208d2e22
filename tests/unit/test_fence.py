"""The flow by hand, where a guard says that another session is at the address."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from session_proxy_middleware import Session, StoreUnavailable
from session_proxy_middleware.errors import ConnectFailed
from session_proxy_middleware.exchange import RoundTrip
from session_proxy_middleware.fence import Disown, FindAgain
from session_proxy_middleware.models import Headers, Reply
from tests.unit.test_exchange_order import ALL, Head, World, slug
from tests.unit.values import ID, a_request, a_session, keyed

OTHER = "11111111-1111-4111-8111-111111111111"
MARK = (b"x-session-proxy-guard", ID.encode())
REFUSES = [*ALL, Disown, FindAgain]


def refusal() -> Head:
    return Head(421, [(b"content-type", b"application/json"), MARK])


def seen(reply: Reply) -> tuple[int, str]:
    return reply.status, slug(reply)


def trips(world: World) -> list[Session]:
    """The sessions that the request was sent to."""
    return [
        step.outbound.session for step in world.steps if isinstance(step, RoundTrip)
    ]


def test_what_a_guard_refuses_is_looked_up_again_and_is_not_found_if_it_has_ended() -> (
    None
):
    session = a_session()
    world = World(FindSession=session, FindAgain=None, RoundTrip=refusal())
    unknown = World(FindSession=None).run(a_request())
    reply = world.run(a_request())
    assert (reply.status, reply.body) == (unknown.status, unknown.body)
    assert slug(reply) == "session_not_found"
    assert world.asked == REFUSES
    disown = world.steps[-2]
    assert isinstance(disown, Disown)
    assert disown.session is session


def test_a_session_that_is_registered_where_another_one_is_is_not_found() -> None:
    session = a_session()
    world = World(FindSession=session, FindAgain=session, RoundTrip=refusal())
    assert seen(world.run(a_request())) == (404, "session_not_found")
    assert world.asked == REFUSES


WITH_BODY = keyed((b"content-length", b"10"))


def test_a_refused_request_goes_where_the_session_is_by_now() -> None:
    first, second = a_session(), a_session("http://10.0.3.8:8080")
    world = World(FindSession=first, FindAgain=second, RoundTrip=[refusal(), Head(201)])
    assert world.run(a_request()).status == 201
    assert world.asked == [*REFUSES, RoundTrip]
    assert trips(world) == [first, second]


@pytest.mark.parametrize("headers", [None, WITH_BODY])
def test_so_does_one_that_could_not_connect(headers: Headers | None) -> None:
    """Also with a body: nothing of it has been asked for."""
    first, second = a_session(), a_session("http://10.0.3.8:8080")
    tries = [ConnectFailed("x"), Head(201)]
    world = World(FindSession=first, FindAgain=second, RoundTrip=tries)
    assert world.run(a_request(headers=headers)).status == 201
    assert trips(world) == [first, second]


def test_a_refused_body_of_which_nothing_has_come_may_be_on_its_way() -> None:
    world = World(FindAgain=a_session(), RoundTrip=refusal())
    reply = world.run(a_request(headers=WITH_BODY))
    assert seen(reply) == (503, "session_moved")
    assert (b"retry-after", b"1") in reply.headers
    assert world.asked == REFUSES


def test_a_request_that_is_refused_twice_is_not_sent_a_third_time() -> None:
    first, second = a_session(), a_session()
    world = World(FindSession=first, FindAgain=second, RoundTrip=[refusal(), refusal()])
    assert seen(world.run(a_request())) == (404, "session_not_found")
    assert world.asked == [*REFUSES, RoundTrip, Disown]
    assert [step.session for step in world.steps if isinstance(step, Disown)] == [
        first,
        second,
    ]


class Reading(World):
    """The driver has read of the request's body before the answer came."""

    def __init__(self, data: bytes, **answers: Any) -> None:
        super().__init__(**answers)
        self._data = data

    def note(self, step: Any) -> None:
        if isinstance(step, RoundTrip):
            assert step.meter is not None
            step.meter.count(self._data, False)


@pytest.mark.parametrize("data", [b"hello", b""])
def test_a_body_that_was_begun_is_not_sent_again_and_the_client_may_try_again(
    data: bytes,
) -> None:
    world = Reading(data, FindAgain=a_session(), RoundTrip=refusal())
    reply = world.run(a_request(headers=WITH_BODY))
    assert seen(reply) == (503, "session_moved")
    assert (b"retry-after", b"1") in reply.headers
    assert world.asked == REFUSES


def test_a_body_that_was_begun_on_a_connection_that_failed_is_not_sent_again() -> None:
    world = Reading(b"hello", FindAgain=a_session(), RoundTrip=ConnectFailed("x"))
    reply = world.run(a_request(headers=WITH_BODY))
    assert seen(reply) == (503, "session_moved")


@pytest.mark.parametrize("failure", [OSError("db"), StoreUnavailable("db")])
def test_where_a_refused_session_is_nobody_knows_while_the_store_fails(
    failure: Exception,
) -> None:
    world = World(FindAgain=failure, RoundTrip=refusal())
    assert seen(world.run(a_request())) == (503, "store_unavailable")


def test_a_store_whose_failure_was_told_is_not_told_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = StoreUnavailable("db", reported=True)
    World(FindAgain=told, RoundTrip=refusal()).run(a_request())
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_registry_and_a_guard_that_disagree_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = a_session()
    world = World(FindSession=session, FindAgain=session, RoundTrip=refusal())
    world.run(a_request())
    [said] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "another session is at http://10.0.3.7:8080" in said.message


@pytest.mark.parametrize(
    "head",
    [
        Head(421),
        Head(421, [(MARK[0], OTHER.encode())]),
        Head(421, [(MARK[0], b"")]),
        Head(200, [MARK]),
        Head(404, [MARK]),
    ],
)
def test_an_answer_of_the_session_passes_and_without_the_guards_field(
    head: Head,
) -> None:
    world = World(RoundTrip=head)
    reply = world.run(a_request())
    assert (reply.status, reply.body) == (head.status, None)
    assert world.asked == ALL
    assert not any(name.startswith(b"x-session-proxy") for name, _ in reply.headers)


@pytest.mark.parametrize(
    ("answers", "expected", "asked"),
    [
        (
            [ConnectFailed("x"), refusal()],
            (404, "session_not_found"),
            [*ALL, FindAgain, RoundTrip, Disown],
        ),
        (
            [refusal(), ConnectFailed("x")],
            (502, "upstream_unreachable"),
            [*REFUSES, RoundTrip],
        ),
    ],
)
def test_a_connect_that_fails_and_a_refusal_are_one_second_try(
    answers: list[Any], expected: tuple[int, str], asked: list[type]
) -> None:
    world = World(FindAgain=a_session(), RoundTrip=answers)
    assert seen(world.run(a_request())) == expected
    assert world.asked == asked
