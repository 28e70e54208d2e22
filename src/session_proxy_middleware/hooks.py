"""Where a host's hooks, sync or async, meet a driver of the other kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from .interfaces import Authenticator
from .models import Principal, Request

Asked = TypeVar("Asked")


def is_async(hook: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also for objects with `__call__`."""
    return bool(iscoroutinefunction(hook)) or bool(
        iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004
    )


def as_async(hook: Authenticator) -> Callable[[Request], Awaitable[Principal]]:
    """For the ASGI driver. A sync hook runs in a worker thread, where it may block;
    wrap it in asgiref's `sync_to_async` yourself to choose the thread."""
    call = awaitable(hook)

    async def authenticate(request: Request) -> Principal:
        return _principal(await call(request))

    return authenticate


def as_sync(hook: Authenticator) -> Callable[[Request], Principal]:
    """For the WSGI driver. An async hook runs on an event loop of its own."""
    call = blocking(hook)
    return lambda request: _principal(call(request))


def awaitable(hook: Callable[[Asked], Any]) -> Callable[[Asked], Awaitable[Any]]:
    """`as_async`, whatever the hook answers."""

    def asked(about: Asked) -> Any:
        try:
            return hook(about)
        except StopIteration as stop:
            # No future takes it, so that whoever waits for one would wait for ever: as
            # of a generator's (PEP 479), an error of another name.
            raise RuntimeError("the hook raised StopIteration") from stop

    call: Callable[[Asked], Any] = (
        hook if is_async(hook) else sync_to_async(asked, thread_sensitive=False)
    )

    async def ask(about: Asked) -> Any:
        answer = await call(about)
        return await answer if isawaitable(answer) else answer

    return ask


def blocking(hook: Callable[[Asked], Any]) -> Callable[[Asked], Any]:
    """`as_sync`, whatever the hook answers."""
    call: Callable[[Asked], Any]
    call = async_to_sync(hook) if is_async(hook) else hook

    def ask(about: Asked) -> Any:
        answer = call(about)
        return async_to_sync(_awaited)(answer) if isawaitable(answer) else answer

    return ask


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _principal(answer: Any) -> Principal:
    if not isinstance(answer, Principal):
        raise TypeError(
            "authenticate must return a Principal or raise, "
            f"not {type(answer).__name__}"
        )
    return answer
