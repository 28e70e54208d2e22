"""A session that one worker ends is broken off in all, within the cache's time."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from session_proxy_middleware import Caching
from session_proxy_middleware.proxy import PATROL

from ..support.cluster import Cluster
from ..support.servers import request
from ..support.upstream import Conn, Upstream
from ..support.wire import chunked
from .test_one_truth import SLACK

WITHIN = Caching().found + 2 * PATROL + SLACK
"""Seconds: asked about in the second round that it is there for."""


def play(conn: Conn) -> None:
    """The beginning of a stream, or nothing at all."""
    if conn.request().target != b"/silent":
        conn.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked(b"first", last=False)
        )


@pytest.mark.parametrize("path", ["/events", "/silent"])
def test_what_is_under_way_in_another_worker_is_broken_off(
    cluster: tuple[str, str, int], path: str, tmp_path: Path
) -> None:
    driver, url, _ = cluster
    id = str(uuid.uuid4())
    with (
        Upstream(play) as upstream,
        Cluster(driver, url, tmp_path, workers=2) as running,
    ):
        here, there = running.workers
        secret = here.control("keys", "create")["secret"]
        here.control("sessions", "register", "bot", id, upstream.url)
        here.wire.send(request("GET", f"/bot/sessions/{id}{path}", key=secret))
        upstream.connection()
        if path == "/events":
            head = here.wire.response_head()
            pieces = iter(here.wire.pieces(head))
            assert next(pieces) == b"first"
        time.sleep(0.2)
        there.control("sessions", "end", "bot", id)
        told = time.monotonic()
        if path == "/events":
            assert list(pieces) == []
            assert head.end == "broken"
        else:
            answer = here.wire.answer()
            assert answer.one("x-session-proxy-error") == b"session_not_found"
        assert time.monotonic() - told < WITHIN
        assert upstream.all_gone(1.0)
    assert "Traceback" not in running.log
