"""A store in memory under several workers is a mistake, and said to be one."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, SessionProxy, open_store
from session_proxy_middleware.asgi import SessionProxyMiddleware as ASGIMiddleware
from session_proxy_middleware.workers import one_of_several, several
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware

from ..support.cluster import Cluster

WARNING = "MemoryStore is one process's memory"
PATH = "/bot/sessions/57af5437-97a2-4646-9873-a5c5935bd705/x"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("driver", ["gunicorn", "uvicorn", "uvicorn.run"])
def test_each_of_several_workers_says_it_once(
    driver: str, workers: int, tmp_path: Path
) -> None:
    with Cluster(driver, "memory://", tmp_path, workers=workers) as running:
        for _ in range(2):
            for worker in running.workers:
                assert worker.get(PATH, "pk_x").status == 401
        said = running.log.count(WARNING)
    assert said == (workers if workers > 1 else 0)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


@pytest.mark.parametrize(
    ("url", "count", "said"),
    [("memory://", "4", 1), ("memory://", "1", 0), ("sqlite:///s.db", "4", 0)],
)
def test_the_environment_may_ask_for_workers(
    url: str,
    count: str,
    said: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", count)
    ASGIMiddleware(nothing, SessionProxy(open_store(url)))
    assert [WARNING in each.message for each in caplog.records] == [True] * said


@pytest.mark.parametrize(("several", "said"), [(True, 1), (False, 0)])
def test_a_wsgi_server_says_it_with_a_request(
    several: bool, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    middleware = WSGIMiddleware(lambda environ, start: [], SessionProxy(MemoryStore()))
    for _ in range(2):
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": PATH,
            "wsgi.multiprocess": several,
        }
        list(middleware(environ, lambda status, headers: None))
    assert [WARNING in each.message for each in caplog.records] == [True] * said


class Process:
    """As a server's worker finds itself."""

    def __init__(self, **config: Any) -> None:
        self._kwargs = {"config": SimpleNamespace(**config)} if config else {}


@pytest.mark.parametrize(
    ("process", "found"),
    [
        (Process(workers=2, reload=False), True),
        (Process(workers=2), True),
        (Process(workers=1, reload=False), False),
        (Process(workers=2, reload=True), False),
        (Process(workers=None), False),
        (Process(), False),
        (None, False),
    ],
)
def test_a_process_is_one_of_several(process: Any, found: bool) -> None:
    assert one_of_several(process) is found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("app:app --workers 4", True),
        ("app:app --workers=2 --bind x", True),
        ("-w 3 app:app", True),
        ("-w3 app:app", True),
        ("app:app", False),
        ("-w 1 app:app", False),
        ("--workers 4 --workers 1 app:app", False),
        ("--window 9", False),
    ],
)
def test_a_command_line_asks_for_workers(line: str, found: bool) -> None:
    assert several(line.split()) is found
