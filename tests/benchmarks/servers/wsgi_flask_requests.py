"""The route people write by hand: Flask and one shared requests session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import requests
from flask import Flask, Response, request
from requests.adapters import HTTPAdapter

from . import wire

ORIGINS = {
    wire.session_id(index): wire.origin(index) for index in range(wire.sessions())
}
NOT_FORWARDED = {"host", "connection", "keep-alive", "authorization", "content-length"}
NOT_RETURNED = {"connection", "keep-alive", "transfer-encoding", "server", "date"}
CHUNK = 64 * 1024

client = requests.Session()
client.trust_env = False  # else it looks for proxies and .netrc at every request
client.mount("http://", HTTPAdapter(pool_connections=4096, pool_maxsize=64))

app = Flask(__name__)


class Body:
    """A request body of known length, in the form requests streams unchunked."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self.len = length
        self.read = stream.read
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)


@app.route("/<service>/sessions/<session>/<path:path>", methods=["GET", "POST"])
def forward(service: str, session: str, path: str) -> Response:
    """Stream the request to the session and its response back."""
    length = request.content_length
    response = client.request(
        request.method,
        f"{ORIGINS[session]}/{path}",
        params=request.args,
        headers={
            name: value
            for name, value in request.headers
            if name.lower() not in NOT_FORWARDED
        },
        data=Body(request.stream, length) if length else None,
        stream=True,
        allow_redirects=False,
        timeout=60,
    )
    return Response(
        response.raw.stream(CHUNK, decode_content=False),
        status=response.status_code,
        headers=[
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in NOT_RETURNED
        ],
    )
