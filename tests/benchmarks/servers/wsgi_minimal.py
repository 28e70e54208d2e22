"""The floor under WSGI: see `minimal`."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from httptools import HttpResponseParser

from . import minimal

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PORT = int(os.environ["BENCHMARK_UPSTREAM_PORT"])

buffers: list[memoryview] = []
idle: defaultdict[str, list[socket.socket]] = defaultdict(list)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Forward a GET without a body."""
    address, target = minimal.routed(environ["PATH_INFO"])
    head = minimal.encoded(
        target,
        [
            (name[5:].replace("_", "-").lower().encode(), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ],
    )
    if idle[address]:
        connection = idle[address].pop()
    else:
        connection = socket.create_connection((address, PORT))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = buffers.pop() if buffers else memoryview(bytearray(minimal.BUFFER))
    response = minimal.Response()
    parser = HttpResponseParser(response)
    connection.send(head)
    while not response.complete:
        parser.feed_data(buffer[: connection.recv_into(buffer)])
    idle[address].append(connection)
    buffers.append(buffer)
    start_response(
        "200 OK",
        [(name.decode(), value.decode("latin-1")) for name, value in response.headers],
    )
    return [b"".join(response.pieces)]
