"""Where a host's hooks, sync or async, meet a driver of the other kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from .interfaces import Authenticator
from .models import Principal, Request


def is_async(hook: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also for objects with `__call__`."""
    return bool(iscoroutinefunction(hook)) or bool(
        iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004
    )


def as_async(hook: Authenticator) -> Callable[[Request], Awaitable[Principal]]:
    """For the ASGI driver. A sync hook runs in a worker thread, where it may block;
    wrap it in asgiref's `sync_to_async` yourself to choose the thread."""
    call: Callable[[Request], Any] = (
        hook if is_async(hook) else sync_to_async(hook, thread_sensitive=False)
    )

    async def authenticate(request: Request) -> Principal:
        answer = await call(request)
        return _principal(await answer if isawaitable(answer) else answer)

    return authenticate


def as_sync(hook: Authenticator) -> Callable[[Request], Principal]:
    """For the WSGI driver. An async hook runs on an event loop of its own."""
    call: Callable[[Request], Any]
    call = async_to_sync(hook) if is_async(hook) else hook  # type: ignore[arg-type]

    def authenticate(request: Request) -> Principal:
        answer = call(request)
        if isawaitable(answer):
            answer = async_to_sync(_awaited)(answer)
        return _principal(answer)

    return authenticate


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _principal(answer: Any) -> Principal:
    if not isinstance(answer, Principal):
        raise TypeError(
            "authenticate must return a Principal or raise, "
            f"not {type(answer).__name__}"
        )
    return answer
