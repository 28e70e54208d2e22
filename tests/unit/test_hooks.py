"""Hooks of either kind serve drivers of either kind."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from session_proxy_middleware import Principal, Request, Unauthenticated
from session_proxy_middleware.hooks import as_async, as_sync, is_async
from tests.unit.values import a_request

WHO = Principal(id="who")


def plain(request: Request) -> Principal:
    return WHO


async def coroutine(request: Request) -> Principal:
    await asyncio.sleep(0)
    return WHO


def hands_out_awaitable(request: Request) -> Awaitable[Principal]:
    return coroutine(request)


class Callable:
    def __call__(self, request: Request) -> Principal:
        return WHO


class AsyncCallable:
    async def __call__(self, request: Request) -> Principal:
        return WHO

    async def method(self, request: Request) -> Principal:
        return WHO


HOOKS = [
    plain,
    coroutine,
    hands_out_awaitable,
    Callable(),
    AsyncCallable(),
    AsyncCallable().method,
    functools.partial(coroutine),
]


@pytest.mark.parametrize("hook", HOOKS)
def test_any_hook_serves_the_asgi_driver(hook: Any) -> None:
    async def call() -> Principal:
        return await as_async(hook)(a_request())

    assert asyncio.run(call()) is WHO


@pytest.mark.parametrize("hook", HOOKS)
def test_any_hook_serves_the_wsgi_driver(hook: Any) -> None:
    assert as_sync(hook)(a_request()) is WHO


def test_a_sync_hook_does_not_block_the_event_loop() -> None:
    async def call() -> bool:
        here = threading.get_ident()
        seen: list[int] = []

        def hook(request: Request) -> Principal:
            seen.append(threading.get_ident())
            return WHO

        await as_async(hook)(a_request())
        return seen == [here]

    assert not asyncio.run(call())


@pytest.mark.parametrize("answer", [None, "who", True, {"id": "who"}])
def test_what_is_no_principal_is_a_bug_of_the_hook(answer: Any) -> None:
    async def async_hook(request: Request) -> Any:
        return answer

    for hook in (lambda request: answer, async_hook):
        with pytest.raises(TypeError, match="must return a Principal"):
            as_sync(hook)(a_request())
        with pytest.raises(TypeError, match="must return a Principal"):
            asyncio.run(as_async(hook)(a_request()))  # type: ignore[arg-type]


def test_what_a_hook_raises_comes_through() -> None:
    def sync_hook(request: Request) -> Principal:
        raise Unauthenticated("sync")

    async def async_hook(request: Request) -> Principal:
        raise Unauthenticated("async")

    for hook in (sync_hook, async_hook):
        with pytest.raises(Unauthenticated):
            as_sync(hook)(a_request())
        with pytest.raises(Unauthenticated):
            asyncio.run(as_async(hook)(a_request()))  # type: ignore[arg-type]


def test_a_hook_that_finds_nobody_is_not_waited_for_for_ever() -> None:
    users: list[Principal] = []

    async def call() -> None:
        hook = as_async(lambda request: next(iter(users)))
        await asyncio.wait_for(hook(a_request()), 3)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(call())


@pytest.mark.parametrize(
    ("hook", "found"), [(plain, False), (coroutine, True), (AsyncCallable(), True)]
)
def test_async_hooks_are_told_apart(hook: Any, found: bool) -> None:
    assert is_async(hook) is found
