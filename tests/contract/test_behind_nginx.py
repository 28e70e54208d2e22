"""A real nginx in front, as people have it: buffering on (the default), gzip on.

With both, nginx keeps a whole stream back; each alone it passes small events on.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.programs import program
from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import PATIENCE, chunked, connect
from .conftest import Serve

COMPRESSED = [(b"Accept-Encoding", b"gzip")]
GZIP = 31
"""What zlib calls it."""

CONFIG = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    gzip on;
    gzip_types text/event-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version 1.1;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(
    portal: Portal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """The address of an nginx in front of the portal."""
    nginx = program("nginx", package="nginx-light")
    folder: Path = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=folder,
            port=port,
            behind=portal.address[1],
            # As root it would read the folder as somebody else.
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    command = [nginx, "-e", "stderr", "-c", str(config), "-p", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), PATIENCE).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Events:
    """A session that sends its second event only when it is told to."""

    def __init__(self, fields: bytes) -> None:
        self.go_on = threading.Event()
        self._fields = fields

    def play(self, conn: Conn) -> None:
        conn.request()
        conn.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            + self._fields
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + chunked(b"data: 1\n\n", last=False)
        )
        assert self.go_on.wait(PATIENCE)
        conn.send(chunked(b"data: 2\n\n"))


def first_of(pieces: Iterator[bytes]) -> bytes:
    """The first that is not empty: a piece of gzip may hold a header alone."""
    return next(filter(None, pieces))


def test_an_event_passes_nginx_before_the_session_sends_the_next(
    portal: Portal, serve: Serve, nginx: tuple[str, int]
) -> None:
    session = Events(b"")
    site = portal.mount(serve(session.play))
    with connect(nginx) as client:
        client.send(site.raw("GET", "/events", COMPRESSED))
        head = client.response_head()
        unzip = zlib.decompressobj(GZIP).decompress
        pieces = map(unzip, client.pieces(head))
        assert first_of(pieces) == b"data: 1\n\n"
        session.go_on.set()
        assert b"".join(pieces) == b"data: 2\n\n"
        assert head.end == "whole"
        # It is a word to nginx, which takes it off.
        assert not head.has("x-accel-buffering")


def test_nginx_holds_events_back_where_a_session_lets_it(
    portal: Portal, serve: Serve, nginx: tuple[str, int]
) -> None:
    session = Events(b"X-Accel-Buffering: yes\r\n")
    site = portal.mount(serve(session.play))
    with connect(nginx) as client:
        client.send(site.raw("GET", "/events", COMPRESSED))
        assert client.silent(0.3)
        session.go_on.set()
        body = client.answer().body
    assert zlib.decompress(body, GZIP) == b"data: 1\n\ndata: 2\n\n"
