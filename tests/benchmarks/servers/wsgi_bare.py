"""A bare WSGI application that answers itself what the others fetch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from . import wire

if TYPE_CHECKING:
    from wsgiref.types import InputStream, StartResponse, WSGIEnvironment

CHUNK = bytes(64 * 1024)
JSON_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(wire.BODY))),
]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the last segment of the path; anything else is the small JSON."""
    received = 0
    if environ["REQUEST_METHOD"] == "POST":
        received = _drained(environ["wsgi.input"])
    tail = environ["PATH_INFO"].rpartition("/")[2]
    if tail == wire.BLOB:
        start_response("200 OK", [("Content-Length", str(wire.BLOB_BYTES))])
        return _blob()
    if tail == wire.UPLOAD:
        body = b'{"received": %d}' % received
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    start_response("200 OK", JSON_HEADERS)
    return [wire.BODY]


def _blob() -> Iterator[bytes]:
    for _ in range(wire.BLOB_BYTES // len(CHUNK)):
        yield CHUNK


def _drained(stream: InputStream) -> int:
    total = 0
    while chunk := stream.read(len(CHUNK)):
        total += len(chunk)
    return total
