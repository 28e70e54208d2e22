"""What no proxy in Python gets by without, and nothing else.

A route, the digest of the key, a header filter, connections that are kept, the response
through httptools. No limits, no streaming, no errors, no time-outs: what the session
says is believed. The floor that the others stand on.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from . import wire

ROUTE: Final = re.compile(r"/([^/]+)/sessions/([^/]+)(/.*)")
SESSIONS: Final = {
    (wire.SERVICE, wire.session_id(index)): wire.host(index)
    for index in range(wire.sessions())
}
KEYS: Final = {hashlib.sha256(wire.SECRET.encode()).digest()}
NOT_FORWARDED: Final = {
    b"host",
    b"content-length",
    b"authorization",
    b"connection",
    b"cookie",
}
NOT_RETURNED: Final = {b"connection", b"server", b"date"}
BUFFER: Final = 65_536

Header = tuple[bytes, bytes]


def routed(path: str) -> tuple[str, str]:
    """The session's address, and the target there."""
    found = ROUTE.fullmatch(path)
    if found is None:
        raise LookupError(path)
    service, session, target = found.groups()
    return SESSIONS[service, session], target


def encoded(target: str, headers: list[Header]) -> bytes:
    """The head of the request as the session gets it.

    Raises:
        PermissionError: without the key.
    """
    lines, known = [b"GET %b HTTP/1.1\r\nhost: session\r\n" % target.encode()], False
    for name, value in headers:
        if name == b"authorization":
            known = hashlib.sha256(value.removeprefix(b"Bearer ")).digest() in KEYS
        if name not in NOT_FORWARDED:
            lines.append(b"%b: %b\r\n" % (name, value))
    if not known:
        raise PermissionError(target)
    return b"".join((*lines, b"\r\n"))


class Response:
    """What httptools calls while it parses one."""

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head."""
        name = name.lower()
        if name not in NOT_RETURNED:
            self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The end."""
        self.complete = True
