"""One large body either way over a blocking socket: the cheapest client there is."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Final

from ..servers import wire
from .processes import Server, ServerError

PATIENCE_SECONDS: Final = 60.0
PIECE: Final = bytes(256 * 1024)
HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


def fetch(server: Server, *, path: str, body: bytes = b"") -> bytes:
    """The body of one small response; a GET, or a POST where there is a body.

    Raises:
        ServerError: no answer, or one with a status other than 200.
    """
    with _connected(server) as connection:
        connection.sendall(_head(server, path=path, length=len(body)) + body)
        return _small_response(connection)


def download(server: Server, *, path: str) -> float:
    """Seconds it took to receive `wire.BLOB_BYTES` of body.

    Raises:
        ServerError: another status, or fewer bytes.
    """
    buffer = bytearray(1024 * 1024)
    started = time.perf_counter()
    with _connected(server) as connection:
        connection.sendall(_head(server, path=path, length=0))
        _, content = _response_head(connection)
        received = len(content)
        while received < wire.BLOB_BYTES:
            count = connection.recv_into(buffer)
            if not count:
                raise ServerError(f"ended after {received} bytes of body")
            received += count
        return time.perf_counter() - started


def upload(server: Server, *, path: str) -> float:
    """Seconds it took to send `wire.BLOB_BYTES` and to have them counted.

    Raises:
        ServerError: another status, or the upstream did not receive them all.
    """
    left = wire.BLOB_BYTES
    started = time.perf_counter()
    with _connected(server) as connection:
        connection.sendall(_head(server, path=path, length=left))
        try:
            while left:
                connection.sendall(PIECE[:left] if left < len(PIECE) else PIECE)
                left -= min(left, len(PIECE))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused on the way: the answer says why
        content = _small_response(connection)
        elapsed = time.perf_counter() - started
    if str(wire.BLOB_BYTES).encode() not in content:
        raise ServerError(f"the upstream answered {content[:80]!r}")
    return elapsed


def _connected(server: Server) -> socket.socket:
    try:
        return socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
    except OSError as error:
        raise server.failed(f"refused a connection ({error})") from None


def _head(server: Server, *, path: str, length: int) -> bytes:
    fields = [("Host", f"127.0.0.1:{server.port}"), *wire.HEADERS]
    if length:
        fields.append(("Content-Length", str(length)))
    method = "POST" if length else "GET"
    lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields)]
    return "\r\n".join(lines).encode() + HEAD_END


def _small_response(connection: socket.socket) -> bytes:
    head, content = _response_head(connection)
    length = _LENGTH.search(head)
    if length:
        return _read_until(
            connection, content, lambda read: len(read) >= int(length[1])
        )
    if b"transfer-encoding: chunked" in head.lower():
        whole = _read_until(
            connection, content, lambda read: read.endswith(b"0\r\n\r\n")
        )
        return _unchunked(whole)
    return _read_until(connection, content, lambda read: False)


def _response_head(connection: socket.socket) -> tuple[bytes, bytes]:
    received = _read_until(connection, b"", lambda read: HEAD_END in read)
    head, _, content = received.partition(HEAD_END)
    status = head.split(b"\r\n", 1)[0]
    if b" 200" not in status:
        raise ServerError(f"answered {status.decode(errors='replace')!r}")
    return head, content


def _read_until(
    connection: socket.socket, read: bytes, complete: Callable[[bytes], bool]
) -> bytes:
    """What was read and more, until it is complete or the server closes."""
    while not complete(read):
        data = connection.recv(64 * 1024)
        if not data:
            return read
        read += data
    return read


def _unchunked(content: bytes) -> bytes:
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole += content[:length]
        content = content[length + 2 :]
    return whole
