"""The admin API as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..asgi_client import Receive, Scope, Send
from ..errors import ClientDisconnected
from ..hooks import awaitable
from ..models import Reply
from ..rules.body import BodyMeter
from .administration import AdminAuthenticator, Administration
from .exchange import BODY, Question, ReadBody, Request, Step, exchange
from .operation import Call


class AdminAPI(Administration):
    """The admin API under ASGI: an application of its own, to be mounted or served
    where the public does not come. See `Administration` for its options."""

    @staticmethod
    def bridge(hook: AdminAuthenticator) -> Callable[[str], Awaitable[Any]]:
        """See `Administration.bridge`."""
        return awaitable(hook)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._serve(_request(scope), receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif kind == "lifespan":
            await self._live(receive, send)

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        flow = exchange(request, self)
        try:
            step: Step = next(flow)
            while not isinstance(step, Reply):
                try:
                    answer = await self._perform(step, receive)
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
        except StopIteration:
            return  # The client is gone.
        finally:
            flow.close()
        await send(
            {
                "type": "http.response.start",
                "status": step.status,
                "headers": step.headers,
            }
        )
        await send({"type": "http.response.body", "body": step.body or b""})

    async def _perform(self, step: Question, receive: Receive) -> Any:
        if isinstance(step, Call):
            return await self.outage.awatched(self._ask)(step)
        if isinstance(step, ReadBody):
            return await _body(receive)
        return await self.authenticate(step.token)

    async def _ask(self, call: Call) -> Any:
        method = getattr(getattr(self.store, call.part), f"a{call.method}")
        return await method(*call.arguments, **call.options)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Served by itself: what the store has open is closed at the end."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.store.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _request(scope: Scope) -> Request:
    mount = scope.get("root_path", "")
    # Text that every store can keep, whatever a server makes of odd bytes.
    path = scope["path"].encode("utf-8", "replace").decode("utf-8")
    # The path begins with the mount, but from servers and frameworks of old.
    if mount and f"{path}/".startswith(f"{mount}/"):
        path = path[len(mount) :]
    client = scope.get("client")
    return Request(
        scope["method"],
        path,
        mount,
        scope.get("query_string") or b"",
        _all(scope, b"authorization"),
        _all(scope, b"content-type"),
        _all(scope, b"x-request-id"),
        client[0] if client else None,
    )


def _all(scope: Scope, wanted: bytes) -> tuple[bytes, ...]:
    return tuple(value for name, value in scope["headers"] if name == wanted)


async def _body(receive: Receive) -> bytes:
    meter = BodyMeter(None, BODY)
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("in the middle of its upload")
        piece = message.get("body", b"")
        ended = not message.get("more_body", False)
        meter.count(piece, ended)
        pieces.append(piece)
        if ended:
            return b"".join(pieces)
