"""How many requests are in flight, and for whom."""

from __future__ import annotations

import threading

import pytest

from session_proxy_middleware import Limits, Principal
from session_proxy_middleware.errors import Draining, Overloaded, TooManyRequests
from session_proxy_middleware.limiter import Limiter
from session_proxy_middleware.models import Origin, Session

ORIGIN = Origin(scheme="http", host="a", port=80, authority=b"a")
ONE, TWO = Principal(id="one"), Principal(id="two")


def session(name: str) -> Session:
    return Session(id=name, service="bot", origin=ORIGIN, base_path=b"", epoch=1)


A, B = session("a"), session("b")


def test_a_session_takes_as_many_as_it_may() -> None:
    limiter = Limiter(Limits(per_session=2))
    limiter.enter(A, ONE)
    limiter.enter(A, TWO)
    with pytest.raises(TooManyRequests):
        limiter.enter(A, ONE)
    limiter.enter(B, ONE)
    limiter.leave(A, TWO)
    limiter.enter(A, ONE)


def test_a_key_takes_as_many_as_it_may() -> None:
    limiter = Limiter(Limits(per_key=1))
    limiter.enter(A, ONE)
    with pytest.raises(TooManyRequests):
        limiter.enter(B, ONE)
    limiter.enter(B, TWO)
    limiter.leave(A, ONE)
    limiter.enter(B, ONE)


def test_the_proxy_takes_as_many_as_it_may() -> None:
    limiter = Limiter(Limits(total=2))
    limiter.enter(A, ONE)
    limiter.enter(B, ONE)
    with pytest.raises(Overloaded):
        limiter.enter(session("c"), TWO)
    limiter.leave(A, ONE)
    limiter.enter(A, TWO)


def test_without_limits_all_are_let_in() -> None:
    limiter = Limiter(Limits(per_session=None, per_key=None, total=None))
    for _ in range(20_000):
        limiter.enter(A, ONE)
    assert limiter.in_flight == 20_000


def test_a_draining_proxy_lets_nobody_in_and_everybody_out() -> None:
    limiter = Limiter(Limits())
    limiter.enter(A, ONE)
    limiter.draining = True
    with pytest.raises(Draining):
        limiter.enter(A, ONE)
    limiter.leave(A, ONE)
    assert limiter.in_flight == 0


def test_a_refusal_takes_no_place() -> None:
    limiter = Limiter(Limits(per_session=5, per_key=1))
    limiter.enter(A, ONE)
    for _ in range(10):
        with pytest.raises(TooManyRequests):
            limiter.enter(A, ONE)
    for number in range(4):
        limiter.enter(A, Principal(id=f"{number}"))
    assert limiter.in_flight == 5


def test_threads_lose_no_place() -> None:
    limiter = Limiter(Limits(per_session=3, per_key=2, total=4))
    highest: list[int] = []
    refused: list[str] = []

    def work(number: int) -> None:
        where, who = (A, B)[number % 2], (ONE, TWO)[number // 2 % 2]
        for _ in range(300):
            try:
                limiter.enter(where, who)
            except (TooManyRequests, Overloaded) as error:
                refused.append(error.slug)
            else:
                highest.append(limiter.in_flight)
                limiter.leave(where, who)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(highest) <= 4
    assert limiter.in_flight == 0
    for _ in range(2):
        limiter.enter(A, ONE)
        limiter.enter(B, TWO)


def test_one_request_that_ends_gives_back_one_place_of_several() -> None:
    limiter = Limiter(Limits(per_session=2, per_key=2))
    for _ in range(2):
        limiter.enter(A, ONE)
    limiter.leave(A, ONE)
    limiter.enter(A, ONE)
    with pytest.raises(TooManyRequests):
        limiter.enter(B, ONE)
    with pytest.raises(TooManyRequests):
        limiter.enter(A, TWO)
