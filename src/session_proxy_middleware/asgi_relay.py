"""An open WebSocket under ASGI: messages from one leg to the other, and its end."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from .asgi_client import Message, Receive, Send
from .errors import ClientDisconnected, Draining
from .models import Ending, Relayed
from .rules import handshake
from .rules.handshake import BROKEN, GOING_AWAY, LOST, TOO_BIG

if TYPE_CHECKING:  # It needs the extra.
    from .upstream.websocket import SessionSocket

log = logging.getLogger("session_proxy")

LOOK_EVERY = 5.0
"""Seconds, at the most, between two looks at whether a socket is alive."""

GRACE = 1.0
"""Seconds that the client is given to take what it is sent, when a socket is closed
from here."""


class Relay:
    """Both legs of one WebSocket, from the moment that its client waits for it.

    The request's own task sends to the client; a second one, `pump`, receives from it,
    so that it can be ended before a close is sent (granian waits for it for ever).
    """

    socket: SessionSocket | None = None
    """The session's leg, once it has accepted."""
    departed: tuple[int, str] | None = None
    """Code and reason of a client that has closed, or is lost."""
    word = ""
    """Why it was closed from here."""
    _pump: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _interrupted = False
    _sending_since: float | None = None
    _blocked_since: float | None = None
    _ping_sent = 0.0
    _noted = 0

    def __init__(
        self,
        receive: Receive,
        send: Send,
        max_message: int,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._started = perf_counter()
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self._task = asyncio.current_task(self.loop)
        self._opened: asyncio.Future[SessionSocket] = self.loop.create_future()
        self.close_code = LOST

    # Before the session has accepted.

    def watch(self) -> None:
        """From now on the request is interrupted when the client leaves."""
        if self._pump is None:
            self._pump = self.loop.create_task(self._run_pump())

    async def unwatch(self) -> None:
        """End the pump, before anything is sent that ends the client's leg."""
        pump = self._pump
        if pump is not None and not pump.done():
            pump.cancel()
            await asyncio.wait([pump])

    def interrupted(self) -> bool:
        """Whether the cancellation just caught is ours, and nobody else's."""
        return self._interrupted and not (self._task and self._task.uncancel())

    def cause(self) -> Exception:
        """What an opening that was interrupted ends with."""
        if self.word == Draining.slug:
            return Draining("broken off: the proxy is shutting down")
        gone = ClientDisconnected("before the session accepted")
        gone.ending = Ending("client_disconnected", 0, 0, None, self._passed())
        return gone

    # The relay.

    async def run(self, accept: Message, socket: SessionSocket) -> Relayed:
        """Accept, and relay until one side closes; tells how that ended."""
        self.socket = socket
        headers_after = self._passed()
        send = self._send
        try:
            await send(accept)
            self._opened.set_result(socket)
            receive = socket.receive
            while True:
                message = await receive()
                if message is None:
                    break
                self._sending_since = self.loop.time()
                if isinstance(message, str):
                    await send({"type": "websocket.send", "text": message})
                else:
                    await send({"type": "websocket.send", "bytes": message})
                self._sending_since = None
            await self._close_client(socket)
        except asyncio.CancelledError:
            if not self.interrupted():
                self.word = self.word or "cancelled"
                socket.close(GOING_AWAY, "", self.word)
                raise
        except OSError:
            # Servers say so of a client that has left; the pump may not know yet.
            if self.departed is None:
                self.departed = LOST, ""
        finally:
            self._stop(socket)
        return Relayed(
            self._reason(socket),
            socket.bytes_sent,
            socket.bytes_received,
            headers_after,
            self._passed(),
            socket.messages_sent,
            socket.messages_received,
            self.close_code,
        )

    async def _close_client(self, socket: SessionSocket) -> None:
        await self.unwatch()
        ended = socket.ended
        if self.departed is not None or ended is None:
            return
        code = handshake.to_client(ended.code)
        self._sending_since = self.loop.time()
        await self._send(
            {"type": "websocket.close", "code": code, "reason": ended.reason}
        )

    def _stop(self, socket: SessionSocket) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pump is not None:
            self._pump.cancel()
        if not self._opened.done():
            self._opened.cancel()
        if socket.ended is None:
            code, reason = self.departed or (LOST, "")
            self._close_session(socket, code, reason)
        if socket.ended is not None:
            self.close_code = socket.ended.code

    def _close_session(self, socket: SessionSocket, code: int, reason: str) -> None:
        told = handshake.to_session(code)
        word = "client_disconnected" if code == LOST else "completed"
        socket.close(told, reason, word)

    def _reason(self, socket: SessionSocket) -> str:
        if self.word:
            return self.word
        return socket.ended.word if socket.ended is not None else "completed"

    def _passed(self) -> float:
        return perf_counter() - self._started

    async def _run_pump(self) -> None:
        """From the client to the session."""
        receive = self._receive
        socket: SessionSocket | None = None
        try:
            while True:
                message = await receive()
                kind = message["type"]
                if kind == "websocket.receive":
                    if socket is None:
                        socket = await self._opened
                    data = message.get("text")
                    if data is None:
                        data = message.get("bytes") or b""
                    if len(data) > self._max_message:
                        self.close(TOO_BIG, "message too big", "message_too_large")
                        return
                    socket.send(data)
                    if socket.writable is not None:
                        self._blocked_since = self.loop.time()
                        await socket.writable
                        self._blocked_since = None
                elif kind == "websocket.disconnect":
                    self._leave(*handshake.departed(message))
                    return
        except OSError:
            self._leave(LOST, "")
        except Exception:
            log.exception("the relay of a WebSocket failed")
            self.close(BROKEN, "", "internal_error")

    def _leave(self, code: int, reason: str) -> None:
        """The client has closed, or is lost."""
        self.departed = code, reason
        if self.socket is None:
            self._interrupt()
        elif self.socket.ended is None:
            self._close_session(self.socket, code, reason)

    # What others want of it.

    def close(self, code: int, reason: str, word: str) -> None:
        """Close both legs, saying this."""
        if self.word:
            return
        self.word = word
        if self.socket is None:
            self._interrupt()
            return
        if self.socket.ended is None:
            self.socket.close(code, reason, word)
        self.loop.call_later(GRACE, self._interrupt)

    def break_off(self, word: str) -> None:
        """Now, whether the client takes a close or not."""
        self.word = self.word or word
        self._interrupt()

    def _interrupt(self) -> None:
        task = self._task
        if task is not None and not task.done() and not self._interrupted:
            self._interrupted = True
            task.cancel()
