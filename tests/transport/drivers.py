"""Every transport behind one blocking interface, so that one suite fits all."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx
import httpx2

from session_proxy_middleware import Timeouts
from session_proxy_middleware.interfaces import (
    AsyncResponse,
    AsyncTransport,
    Response,
    Transport,
)
from session_proxy_middleware.models import Headers, Outbound
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from session_proxy_middleware.upstream.httpx_transport import (
    AsyncHTTPXTransport,
    HTTPXTransport,
)
from session_proxy_middleware.upstream.tls import default_context
from tests.transport.bodies import AsyncUpload, Body, SyncUpload
from tests.transport.expectations import EXPECTED, Expected

T = TypeVar("T")
PATIENCE = 15.0
"""Seconds until a test gives up on something that hangs."""


class Answer(ABC):
    """A response whose head is there."""

    status: int
    headers: Headers

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    @abstractmethod
    def ended(self) -> bool: ...
    @abstractmethod
    def read(self) -> bytes: ...
    @abstractmethod
    def close(self) -> None: ...

    def body(self) -> bytes:
        """All that is left of it."""
        pieces = []
        while not self.ended:
            pieces.append(self.read())
        return b"".join(pieces)


class Driver(ABC):
    """A transport at work. `send` waits for the head; `begin` does not."""

    expected: Expected

    @abstractmethod
    def begin(self, outbound: Outbound, body: Body | None = None) -> Future[Answer]: ...

    def send(self, outbound: Outbound, body: Body | None = None) -> Answer:
        return self.begin(outbound, body).result(PATIENCE)

    def get(self, outbound: Outbound) -> bytes:
        """The whole body of the response."""
        return self.send(outbound).body()

    @abstractmethod
    def abandon(self, future: Future[Answer]) -> None:
        """The client has left while `begin` was waiting."""

    @abstractmethod
    def close(self) -> None: ...


class AsyncDriver(Driver):
    """An async transport on an event loop that runs in a thread of its own."""

    def __init__(
        self,
        make: Callable[[], AsyncTransport],
        new_loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        self.loop = new_loop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, it: self.problems.append(it))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.transport = make()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, computed on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def begin(self, outbound: Outbound, body: Body | None = None) -> Future[Answer]:
        async def send() -> Answer:
            upload = None if body is None else AsyncUpload(body)
            return AsyncAnswer(self, await self.transport.asend(outbound, upload))

        return asyncio.run_coroutine_threadsafe(send(), self.loop)

    def abandon(self, future: Future[Answer]) -> None:
        future.cancel()

    def close(self) -> None:
        self.run(self.transport.aclose())
        left = self.run(_remaining_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        assert not left, f"tasks were left running: {left}"
        assert not self.problems, self.problems


async def _remaining_tasks() -> list[str]:
    """What still runs a little after everything should have ended."""
    tasks: set[asyncio.Task[Any]] = set()
    for _ in range(20):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if not tasks:
            # Closed connections tell their protocols in the next turns of the loop.
            await asyncio.sleep(0.01)
            return []
        await asyncio.sleep(0.01)
    return [repr(task) for task in tasks]


class AsyncAnswer(Answer):
    def __init__(self, driver: AsyncDriver, response: AsyncResponse) -> None:
        self.status = response.status
        self.headers = list(response.headers)
        self._driver = driver
        self._response = response

    @property
    def ended(self) -> bool:
        return self._response.complete and not self._response.pieces

    def read(self) -> bytes:
        return self._driver.run(self._response.read())

    def close(self) -> None:
        self._driver.run(self._response.aclose())


class Departure:
    """A client's connection under WSGI, which `leave` closes."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int | None:
        return self._ours.fileno()

    def gone(self) -> bool:
        try:
            return not self._ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def leave(self) -> None:
        self._theirs.close()

    def close(self) -> None:
        self._theirs.close()
        self._ours.close()


class BlockingDriver(Driver):
    """A blocking transport; every request has a thread, as under a WSGI server."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._departures: dict[Future[Answer], Departure] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, outbound: Outbound, body: Body | None = None) -> Future[Answer]:
        future: Future[Answer] = Future()
        departure = self._departures[future] = Departure()

        def send() -> None:
            upload = None if body is None else SyncUpload(body)
            try:
                response = self.transport.send(outbound, upload, departure)
            except BaseException as failure:
                future.set_exception(failure)
            else:
                future.set_result(BlockingAnswer(response))

        thread = threading.Thread(target=send, daemon=True)
        self._threads.append(thread)
        thread.start()
        return future

    def abandon(self, future: Future[Answer]) -> None:
        self._departures[future].leave()

    def close(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a request never came back"
        self.transport.close()
        for departure in self._departures.values():
            departure.close()


class BlockingAnswer(Answer):
    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = list(response.headers)
        self._response = response

    @property
    def ended(self) -> bool:
        return self._response.complete and not self._response.pieces

    def read(self) -> bytes:
        return self._response.read()

    def close(self) -> None:
        self._response.close()


def open_driver(
    kind: str, timeouts: Timeouts, ssl_context: ssl.SSLContext | None = None
) -> Driver:
    """A driver of one of `KINDS`."""
    driver = _open(kind, timeouts, ssl_context)
    driver.expected = EXPECTED[kind]
    return driver


def _open(kind: str, timeouts: Timeouts, context: ssl.SSLContext | None) -> Driver:
    # Loading the system's certificates takes longer than most of these tests.
    verify = context or default_context()
    if kind == "blocking":
        return BlockingDriver(HTTP11Transport(timeouts=timeouts, ssl_context=context))
    if kind == "httpx":
        plain = httpx.HTTPTransport(verify=verify)
        return BlockingDriver(HTTPXTransport(plain, timeouts=timeouts))
    if kind == "httpx2":
        plain2 = httpx2.HTTPTransport(verify=verify)
        return BlockingDriver(HTTPXTransport(plain2, timeouts=timeouts))
    makers: dict[str, Callable[[], AsyncTransport]] = {
        "aio": lambda: AsyncHTTP11Transport(timeouts=timeouts, ssl_context=context),
        "aio-uvloop": lambda: AsyncHTTP11Transport(
            timeouts=timeouts, ssl_context=context
        ),
        "async-httpx": lambda: AsyncHTTPXTransport(
            httpx.AsyncHTTPTransport(verify=verify), timeouts=timeouts
        ),
        "async-httpx2": lambda: AsyncHTTPXTransport(
            httpx2.AsyncHTTPTransport(verify=verify), timeouts=timeouts
        ),
    }
    return AsyncDriver(makers[kind], _uvloop if "uvloop" in kind else _asyncio)


def _asyncio() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop()


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


KINDS = [
    kind
    for kind in EXPECTED
    # Servers often bring uvloop; where it is not installed it cannot be the loop.
    if kind != "aio-uvloop" or importlib.util.find_spec("uvloop") is not None
]
OWN_ASYNC = [kind for kind in KINDS if kind.startswith("aio")]
OWN = [*OWN_ASYNC, "blocking"]
