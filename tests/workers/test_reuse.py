"""The fence: addresses are used again, and no request reaches another session."""

from __future__ import annotations

import random
from pathlib import Path

from session_proxy_middleware import open_store

from ..support.bots import Bots
from ..support.cluster import Cluster
from ..support.reuse import Churn, Storm

SECRET = "pk_for_all_of_these_tests_0123456789"
PORTS, SESSIONS, REQUESTS = 20, 200, 10_000
SEED = 20_260_401


def test_no_request_reaches_another_session_than_it_asked_for(
    driver: str, tmp_path: Path
) -> None:
    """Sessions end, start and move in another process, so that what this one believes
    is out of date for up to a second; `tests/benchmarks/fence.py` has it larger, and
    shows what becomes of it without the guard."""
    kind = "asgi" if driver == "uvicorn" else "wsgi"
    url = f"sqlite:///{tmp_path}/s.db"
    store = open_store(url)
    store.keys.create(secret=SECRET)
    with Bots(kind, PORTS) as bots, Cluster(driver, url, tmp_path) as running:
        churn = Churn(store, bots, SESSIONS, random.Random(SEED))
        storm = Storm(churn, running.address, SECRET)
        storm.run(REQUESTS, SESSIONS)
        reached, wrong, refused = bots.counts()
    print(f"{driver}: {reached} reached their session, {refused} were refused by it")
    print(dict(storm.answers))
    assert wrong == 0
    assert storm.answers["right"] == reached
    assert set(storm.answers) <= {
        "right",
        "404 session_not_found",
        "503 session_moved",
    }
    # It was put to the test.
    assert reached > REQUESTS // 3
    assert refused > 100
    assert "Traceback" not in running.log
    store.close()
