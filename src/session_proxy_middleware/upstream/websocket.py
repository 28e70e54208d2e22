"""Sessions' WebSockets: the protocol of the `websockets` library, without its I/O, on
connections of our own. Installed with the extra `[websocket]`.

Nothing is followed: a session that answers with a redirect has refused.
"""

from __future__ import annotations

import asyncio

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..errors import UpstreamTimeout
from ..models import Outbound
from ..options import Timeouts, WebSockets
from . import h1
from .connection import RECEIVE_BUFFER
from .dialling import Dialler
from .loops import PerLoop
from .websocket_connection import SessionSocket

# The library wants one. Where the connection goes, and for what, `Outbound` says.
_URI = parse_uri("ws://session/")


class WebSocketTransport:
    """Opens sessions' WebSockets. Nothing is shared between event loops."""

    def __init__(
        self, dialler: Dialler, timeouts: Timeouts, options: WebSockets
    ) -> None:
        self._dialler = dialler
        self._timeouts = timeouts
        self._options = options
        self._buffers = PerLoop(lambda _: memoryview(bytearray(RECEIVE_BUFFER)))

    async def connect(
        self, outbound: Outbound, subprotocols: list[bytes]
    ) -> SessionSocket:
        """Connect, ask, and wait for the answer: see `SessionSocket.opened`.

        Raises: `ConnectFailed`, `ConnectTimeout`, `UpstreamUnreachable`,
        `UpstreamProtocolError`, `UpstreamTimeout`.
        """
        loop = asyncio.get_running_loop()
        buffer = self._buffers.current()
        offered = [Subprotocol(each.decode("ascii")) for each in subprotocols]
        deflate = [ClientPerMessageDeflateFactory()]
        most = self._options.max_message
        protocol = ClientProtocol(
            _URI,
            extensions=deflate if self._options.compression else None,
            subprotocols=offered or None,
            max_size=most,
        )
        head = h1.head(outbound) + _handshake(protocol)
        socket = await self._dialler.dial(
            loop,
            outbound.session,
            lambda: SessionSocket(loop, buffer, protocol, most),
        )
        try:
            async with asyncio.timeout(self._timeouts.response):
                await socket.ask(head)
        except TimeoutError as error:
            raise UpstreamTimeout("no answer to the handshake") from error
        finally:
            if not socket.answered:
                socket.abort()
        return socket


def _handshake(protocol: ClientProtocol) -> bytes:
    """The fields of the session's leg; they end the head."""
    fields = protocol.connect().headers
    lines = [b"upgrade: websocket\r\nconnection: Upgrade\r\n"]
    lines += [
        f"{name.lower()}: {value}\r\n".encode("ascii")
        for name, value in fields.raw_items()
        # The client's subprotocols crossed with its other fields.
        if name.startswith("Sec-WebSocket-") and name != "Sec-WebSocket-Protocol"
    ]
    return b"".join(lines) + b"\r\n"
