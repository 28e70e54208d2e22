"""Answers kept for a moment, and one question for all who ask at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware.interfaces import UNKNOWN
from session_proxy_middleware.stores import remembered
from session_proxy_middleware.stores.remembered import Remembered

PATIENCE = 10.0
URL = "http://10.0.3.7:8080"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands in for `time.monotonic`: a test cannot wait for a clock and be exact."""
    clock = Clock()
    monkeypatch.setattr(remembered, "monotonic", clock)
    return clock


async def until(event: threading.Event) -> None:
    """The registry's events are for threads and tasks alike."""
    while not event.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0)


class Registry:
    """Answers from a dictionary and counts; may be told to wait, or to fail."""

    def __init__(self, **answers: str) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: BaseException | None = None

    def ask(self, name: str) -> str | None:
        self.asked.append(name)
        answer = self.answers.get(name)
        self.begun.set()
        assert self.gate.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        return answer

    async def aask(self, name: str) -> str | None:
        self.asked.append(name)
        answer = self.answers.get(name)
        self.begun.set()
        await until(self.gate)
        if self.failure is not None:
            raise self.failure
        return answer


def remembering(registry: Registry, **options: Any) -> Remembered[str, str]:
    values = {"lasts": lambda value: 1.0, "absent": 0.5, "entries": 100, **options}
    return Remembered(registry.ask, registry.aask, **values)


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Callable[[Remembered[str, str], str], Any]:
    def sync(cache: Remembered[str, str], name: str) -> str | None:
        return cache.get(name)

    def with_loop(cache: Remembered[str, str], name: str) -> str | None:
        return asyncio.run(cache.aget(name))

    return sync if request.param == "sync" else with_loop


def test_what_is_there_and_what_is_not_are_remembered_each_for_its_time(
    clock: Clock, get: Any
) -> None:
    registry = Registry(a="1")
    cache = remembering(registry)
    assert cache.peek("a") is UNKNOWN
    assert (get(cache, "a"), get(cache, "b")) == ("1", None)
    registry.answers = {"a": "2", "b": "2"}
    clock.now += 0.49
    assert (cache.peek("a"), cache.peek("b")) == ("1", None)
    assert (get(cache, "a"), get(cache, "b")) == ("1", None)
    clock.now += 0.01
    assert (cache.peek("a"), cache.peek("b")) == ("1", UNKNOWN)
    clock.now += 0.5
    assert cache.peek("a") is UNKNOWN
    assert (get(cache, "a"), get(cache, "b")) == ("2", "2")
    assert registry.asked == ["a", "b", "a", "b"]


def test_what_may_not_be_kept_is_asked_for_each_time(clock: Clock, get: Any) -> None:
    registry = Registry(a="1")
    cache = remembering(registry, lasts=lambda value: -3.0, absent=0)
    for _ in range(2):
        assert (get(cache, "a"), get(cache, "b")) == ("1", None)
    assert registry.asked == ["a", "b"] * 2
    assert len(cache) == 0


def test_a_failure_is_not_remembered(clock: Clock, get: Any) -> None:
    registry = Registry(a="1")
    cache = remembering(registry)
    registry.failure = OSError("down")
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            get(cache, "a")
    registry.failure = None
    assert get(cache, "a") == "1"
    assert registry.asked == ["a"] * 3


def test_there_is_a_bound_and_the_oldest_goes(clock: Clock, get: Any) -> None:
    registry = Registry(a="1", b="1", c="1")
    cache = remembering(registry, entries=2)
    for name in ("a", "b", "x", "y", "z", "c"):
        get(cache, name)
    assert len(cache) == 4
    assert cache.peek("a") is UNKNOWN
    assert (cache.peek("b"), cache.peek("c")) == ("1", "1")
    assert cache.peek("x") is UNKNOWN
    assert (cache.peek("y"), cache.peek("z")) == (None, None)


def test_many_threads_ask_once() -> None:
    registry = Registry(a="1")
    registry.gate.clear()
    cache = remembering(registry)
    answers: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: answers.append(cache.get("a")))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    assert registry.begun.wait(PATIENCE)
    registry.gate.set()
    for thread in threads:
        thread.join()
    assert answers == ["1"] * 20
    assert registry.asked == ["a"]


def test_the_failure_is_everybodys_who_waits() -> None:
    registry = Registry()
    registry.gate.clear()
    registry.failure = OSError("down")
    cache = remembering(registry)
    failures: list[str] = []

    def ask() -> None:
        try:
            cache.get("a")
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert registry.begun.wait(PATIENCE)
    registry.gate.set()
    for thread in threads:
        thread.join()
    assert failures == ["down"] * 5


def test_many_tasks_ask_once_and_one_that_leaves_takes_nothing_with_it() -> None:
    registry = Registry(a="1")
    registry.gate.clear()
    cache = remembering(registry)

    async def use() -> list[Any]:
        tasks = [asyncio.create_task(cache.aget("a")) for _ in range(20)]
        await until(registry.begun)
        tasks[0].cancel()
        registry.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(use())
    assert isinstance(first, asyncio.CancelledError)
    assert others == ["1"] * 19
    assert registry.asked == ["a"]
    assert cache.peek("a") == "1"


def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    registry.gate.clear()
    registry.failure = OSError("down")
    cache = remembering(registry)

    async def use() -> None:
        task = asyncio.create_task(cache.aget("a"))
        await until(registry.begun)
        task.cancel()
        registry.gate.set()
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(use())
    assert caplog.records == []


def test_a_loop_that_ends_in_the_middle_of_a_look_up_leaves_the_next_its_own() -> None:
    registry = Registry(a="1")
    registry.gate.clear()
    cache = remembering(registry)

    async def begin() -> None:
        task = asyncio.create_task(cache.aget("a"))
        await until(registry.begun)
        assert not task.done()

    asyncio.run(begin())
    registry.gate.set()
    assert asyncio.run(cache.aget("a")) == "1"


def test_an_answer_that_is_under_way_while_it_changes_is_not_remembered() -> None:
    registry = Registry(a="old")
    registry.gate.clear()
    cache = remembering(registry)
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(cache.get("a")))
    thread.start()
    assert registry.begun.wait(PATIENCE)
    cache.drop("a")
    registry.answers["a"] = "new"
    registry.gate.set()
    thread.join()
    assert answers == ["old"]
    assert cache.peek("a") is UNKNOWN
    assert cache.get("a") == "new"


def test_the_same_with_tasks() -> None:
    registry = Registry(a="old")
    registry.gate.clear()
    cache = remembering(registry)

    async def use() -> list[str | None]:
        first = asyncio.create_task(cache.aget("a"))
        await until(registry.begun)
        cache.drop_where(lambda value: False)
        registry.answers["a"] = "new"
        second = asyncio.create_task(cache.aget("a"))
        await asyncio.sleep(0)
        registry.gate.set()
        return [await first, await second]

    assert asyncio.run(use()) == ["old", "new"]
    assert cache.peek("a") == "new"
