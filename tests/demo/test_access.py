"""The line that is shown for a request."""

from __future__ import annotations

import logging
from typing import Any

from session_proxy_middleware.demo.access import Line
from session_proxy_middleware.demo.settings import SERVICE


def line(**values: Any) -> str:
    """The line without its time of day."""
    record = {
        "service": SERVICE,
        "session_id": "57af5437",
        "method": "GET",
        "path": "/status",
        "status": 200,
        "answered_by": "session",
        "end_reason": "completed",
        "bytes_sent": 5,
        "total_ms": 1.25,
        **values,
    }
    made = logging.makeLogRecord(record)
    return Line({(SERVICE, "57af5437"): "bot-1"}).format(made).split("  ", 1)[1]


def test_a_session_is_shown_by_its_name() -> None:
    assert line() == "200  bot-1      1.2 ms        5 B  GET bot-1/status"


def test_how_a_request_ended_is_shown_where_that_is_not_the_ordinary_end() -> None:
    ended = line(status=499, answered_by="nobody", end_reason="gone", total_ms=None)
    assert ended == "499  nobody                   5 B  GET bot-1/status  (gone)"


def test_the_same_id_under_another_service_is_another_session() -> None:
    assert line(service="x", answered_by="proxy").endswith("GET x/57af5437/status")


def test_no_request_can_write_lines_or_colours_of_its_own() -> None:
    shown = line(service="a\n\x1b[31mb", session_id=None, path="/\x9b31m")
    assert shown.isprintable()
    assert shown.endswith(r"GET a\n\x1b[31mb/?/\x9b31m")
