"""What one worker registers, ends or revokes is so for all, within the cache's time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from session_proxy_middleware import Caching
from session_proxy_middleware.stores.sqlite import SQLiteStore

from ..support.cluster import EARLY, Cluster, Worker
from ..support.upstream import Upstream, answering, response

CACHING = Caching()
SLACK = 2.0
"""Seconds for a busy machine, on top of the cache's time."""


def statuses(workers: list[Worker], path: str, key: str | None) -> set[int]:
    return {worker.get(path, key).status for worker in workers}


def within(seconds: float, reached: Callable[[], bool]) -> None:
    """It must come about in the cache's time."""
    end = time.monotonic() + seconds + SLACK
    while not reached():
        assert time.monotonic() < end


def test_every_worker_knows_what_one_is_told(
    cluster: tuple[str, str, int], tmp_path: Path, upstream: Upstream
) -> None:
    driver, url, count = cluster
    id = str(uuid.uuid4())
    path = f"/bot/sessions/{id}/x"
    with Cluster(driver, url, tmp_path, workers=count) as running:
        first, *others = workers = running.workers
        assert len({worker.pid for worker in workers}) == count
        assert statuses(workers, path, "pk_unknown") == {401}

        key = first.control("keys", "create")
        within(CACHING.absent, lambda: statuses(workers, path, key["secret"]) == {404})

        first.control("sessions", "register", "bot", id, upstream.url)
        assert first.get(path, key["secret"]).status == 200  # Its own word, at once.
        within(CACHING.absent, lambda: statuses(others, path, key["secret"]) == {200})

        others[0].control("services", "put", "bot", ready=False)
        assert others[0].get(path, key["secret"]).status == 400
        within(CACHING.found, lambda: statuses(workers, path, key["secret"]) == {400})
        first.control("services", "put", "bot")
        within(CACHING.found, lambda: statuses(workers, path, key["secret"]) == {200})

        others[0].control("sessions", "end", "bot", id)
        assert others[0].get(path, key["secret"]).status == 404
        within(CACHING.found, lambda: statuses(workers, path, key["secret"]) == {404})

        others[0].control("keys", "revoke", key["id"])
        assert others[0].get(path, key["secret"]).status == 401
        within(CACHING.keys, lambda: statuses(workers, path, key["secret"]) == {401})
    assert "Traceback" not in running.log


@pytest.mark.parametrize("driver", ["gunicorn", "uvicorn"])
def test_a_session_that_has_moved_is_found_although_another_place_is_remembered(
    driver: str, tmp_path: Path
) -> None:
    """A connect that fails asks the store itself, whatever is remembered."""
    url = f"sqlite:///{tmp_path}/s.db"
    store = SQLiteStore(tmp_path / "s.db")
    secret = store.keys.create().secret
    id = str(uuid.uuid4())
    path = f"/bot/sessions/{id}/x"
    closing = response(b"ok", headers=[(b"Connection", b"close")])
    with Cluster(driver, url, tmp_path) as running:
        for _ in range(5):
            with Upstream(answering(closing)) as upstream:
                store.sessions.register("bot", id, upstream.url)
                within(
                    CACHING.absent, lambda: running.exchange(path, secret).status < 400
                )
                assert running.exchange(path, secret).status == 200
            assert running.exchange(path, secret).status == 502
        store.sessions.end("bot", id)
        assert running.exchange(path, secret).status == 404
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_store_that_was_used_before_the_fork_works_after_it(
    kind: str, tmp_path: Path, upstream: Upstream, request: pytest.FixtureRequest
) -> None:
    """gunicorn's --preload builds the application, and here uses its store, in the
    parent of all workers."""
    url = f"sqlite:///{tmp_path}/s.db"
    if kind == "redis":
        url = request.getfixturevalue("redis_server").url
    with Cluster(
        *("gunicorn", url, tmp_path),
        workers=3,
        options=("--preload",),
        environment={EARLY: "1"},
    ) as running:
        workers = running.workers
        secret = workers[0].control("keys", "create")["secret"]
        names = []
        for turn in range(30):
            worker = workers[turn % 3]
            id = str(uuid.uuid4())
            told = worker.control("sessions", "register", "bot", id, upstream.url)
            names.append(told["name"])
            path = f"/bot/sessions/{id}/x"
            assert statuses(workers, path, secret) == {200}
        listed = workers[1].control("sessions", "list", service="bot")
        assert [each["name"] for each in listed] == sorted(names)
        assert workers[2].control("services", "lookup", "early") is not None
    assert "Traceback" not in running.log
