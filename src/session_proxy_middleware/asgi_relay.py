"""One WebSocket under ASGI: messages from one leg to the other, and its end."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from .asgi_client import Message, Receive, Send
from .errors import ClientDisconnected, Draining, SessionNotFound
from .models import Ending, Relayed
from .options import Timeouts, WebSockets
from .rules import handshake
from .rules.handshake import BAD_GATEWAY, BROKEN, GOING_AWAY, LOST, TOO_BIG

if TYPE_CHECKING:  # It needs the extra.
    from .upstream.websocket_connection import SessionSocket

log = logging.getLogger("session_proxy")

GRACE = 1.0
"""Seconds that the client is given to take a close."""

BURST = 64
"""Messages after which others get a turn: what is there already is passed on without
waiting for anything."""

ENDED = "session_ended"
TOO_LARGE = "message_too_large"


class Relay:
    """Both legs of one WebSocket, from the moment that its client waits for it.

    The request's own task sends to the client; a second one, the pump, receives from
    it, so that it can be ended before a close is sent (granian else waits for ever).
    """

    socket: SessionSocket | None = None
    """The session's leg, once it has accepted."""
    raised: BaseException | None = None
    """What the application is to end with, because the server wants to see it."""
    # Defaults of the class: most of it changes at the end, if at all.
    _departed: tuple[int, str] | None = None
    """Code and reason of a client that has closed, or is lost."""
    _word = ""
    """Why it was closed from here, if it was."""
    _said = (LOST, "")
    """What the client is then told."""
    _over = False
    _interrupted = False
    _pump: asyncio.Task[None] | None = None
    _turns = 0
    """Odd while something is being sent to the client."""
    # What the last look saw, and since when nothing has changed.
    _seen = (0, 0, 0)
    _seen_reads = _seen_turns = _seen_messages = 0
    _still_since = _silent_since = _stuck_since = 0.0
    _asked = False

    def __init__(
        self, receive: Receive, send: Send, options: WebSockets, timeouts: Timeouts
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._started = perf_counter()
        self._receive = receive
        self._send = send
        self._options = options
        self._timeouts = timeouts
        self._task = asyncio.current_task(self.loop)
        self._opened: asyncio.Future[SessionSocket] = self.loop.create_future()

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

    def stop(self) -> None:
        """It is over: from now on nothing is received, and nothing interrupted."""
        self._over = True
        self._opened.cancel()
        if self._pump is not None:
            self._pump.cancel()

    def interrupted(self) -> bool:
        """Whether the cancellation just caught is ours, and nobody else's."""
        return self._interrupted and not (self._task and self._task.uncancel())

    def cause(self) -> Exception:
        """What an opening that was interrupted ends with."""
        if self._word == Draining.slug:
            return Draining("broken off: the proxy is shutting down")
        if self._word == ENDED:
            return SessionNotFound("ended while connecting")
        gone = ClientDisconnected("before the session accepted")
        gone.ending = Ending("client_disconnected", 0, 0, None, self.passed())
        return gone

    def passed(self) -> float:
        """Seconds since it began."""
        return perf_counter() - self._started

    # The relay.

    async def run(self, accept: Message, socket: SessionSocket) -> Relayed:
        """Accept, and relay until one side closes; tells how that ended."""
        self.socket = socket
        now = self.loop.time()
        self._still_since = self._silent_since = self._stuck_since = now
        headers_after = self.passed()
        send, receive = self._send, socket.receive
        try:
            await send(accept)
            self._opened.set_result(socket)
            burst = 0
            while (message := await receive()) is not None:
                burst += 1
                if burst % BURST == 0:
                    await asyncio.sleep(0)
                self._turns += 1
                if isinstance(message, str):
                    await send({"type": "websocket.send", "text": message})
                else:
                    await send({"type": "websocket.send", "bytes": message})
                self._turns += 1
            await self._close_client(socket)
        except asyncio.CancelledError as cancelled:
            if not self.interrupted():
                self.break_off(GOING_AWAY, "cancelled")
                self.raised = cancelled
        except OSError:
            # Servers say so of a client that has left; the pump may not know it yet.
            self._leave(LOST, "")
        except Exception as refused:
            # Not every server sends every code (daphne 1000 and from 3000 on): it then
            # says 1011, which is what it says of an application that raises.
            self.raised = refused
        self.stop()
        if socket.ended is None:
            self._leave(LOST, "")
        word, code = self._outcome(socket)
        return Relayed(
            word,
            socket.bytes_sent,
            socket.bytes_received,
            headers_after,
            self.passed(),
            socket.messages_sent,
            socket.messages_received,
            code,
        )

    async def _close_client(self, socket: SessionSocket) -> None:
        await self.unwatch()
        if self._departed is not None:
            return
        code, reason = self._said
        if not self._word and socket.ended is not None:
            code = handshake.to_client(socket.ended.code)
            reason = socket.ended.reason
        self._turns += 1
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _outcome(self, socket: SessionSocket) -> tuple[str, int]:
        """How it ended, in a word, and the closing code."""
        if self._word:
            return self._word, self._said[0]
        if self._departed is not None:
            code = self._departed[0]
            return ("client_disconnected" if code == LOST else "completed"), code
        if socket.ended is not None:
            return socket.ended.word, socket.ended.code
        return "completed", LOST

    async def _run_pump(self) -> None:
        """From the client to the session."""
        receive = self._receive
        socket: SessionSocket | None = None
        burst = 0
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
                    if not socket.send(data):
                        socket.close(GOING_AWAY)
                        self.close(TOO_BIG, "message too big", TOO_LARGE)
                        return
                    if socket.writable is not None:
                        await socket.writable
                    burst += 1
                    if burst % BURST == 0:
                        await asyncio.sleep(0)
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
        socket = self.socket
        if socket is None:
            self._interrupt()
        elif socket.ended is None:
            self._departed = code, reason
            told = handshake.to_session(code)
            socket.close(told, "" if told is None else reason)

    # What others want of it.

    def close(self, code: int, reason: str, word: str) -> None:
        """Close both legs, saying this."""
        if self._word or self._over:
            return
        self._word = word
        self._said = code, reason
        if self.socket is None:
            self._interrupt()
        else:
            self.socket.close(code, reason)
            # The client may take nothing, not even a close.
            self.loop.call_later(GRACE, self._interrupt)

    def break_off(self, code: int, word: str) -> None:
        """Close the session's leg saying this, and the client's as it comes."""
        if self._over:
            return
        if not self._word:
            self._word = word
            self._said = code, ""
        if self.socket is not None:
            self.socket.close(code)
        self._interrupt()

    def _interrupt(self) -> None:
        if self._task is not None and not self._over and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    def look(self, now: float) -> bool:
        """Is it alive? `now`: on the loop's clock. Answers whether messages flowed
        since the last look."""
        socket = self.socket
        if socket is None or socket.ended is not None:
            return False
        idle, interval = self._timeouts.idle, self._options.ping_interval
        reads = socket.reads
        if reads != self._seen_reads:
            self._seen_reads = reads
            self._silent_since = now
            self._asked = False
        seen = (reads, socket.messages_sent, socket.unsent)
        if seen != self._seen:
            self._seen = seen
            self._still_since = now
        if not self._turns & 1 or self._turns != self._seen_turns:
            self._seen_turns = self._turns
            self._stuck_since = now
        total = self._timeouts.total
        if total is not None and self.passed() > total:
            self.close(GOING_AWAY, "it takes too long in all", "total_timeout")
        elif now - self._stuck_since > idle:
            self.break_off(BROKEN, "client_idle")
        elif now - self._still_since > idle and self._stuck_since == now:
            if socket.writable is not None:
                self.close(BAD_GATEWAY, "", "upstream_idle")
            else:
                self.close(GOING_AWAY, "idle", "idle")
        elif interval is not None and not socket.held_up:
            if now - self._silent_since <= interval:
                pass
            elif not self._asked:
                self._asked = True
                self._silent_since = now
                socket.ping()
            else:
                self.close(BAD_GATEWAY, "", "upstream_idle")
        messages = socket.messages_sent + socket.messages_received
        flowed, self._seen_messages = messages != self._seen_messages, messages
        return flowed
