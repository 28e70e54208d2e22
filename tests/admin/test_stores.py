"""The same over SQLite and Redis, and when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..support.redis_server import RedisServer
from .serving import ADMIN_API, KEY, UPSTREAM, Caller, Kind, serving

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
ONE = f"/services/bot/sessions/{ID}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def shared(
    request: pytest.FixtureRequest, tmp_path: Path, kind: Kind
) -> Iterator[Caller]:
    """The admin API over a store that others share."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
    with over(kind, url) as call:
        yield call


@contextmanager
def over(kind: Kind, url: str) -> Iterator[Caller]:
    """The admin API over the store of this URL, served by itself."""
    admin = ADMIN_API[kind](url, keys=[KEY])
    with serving(kind, admin, lifespan="on") as port:
        yield Caller(port)
    admin.store.close()


def test_a_whole_life_in_a_store_that_others_share(shared: Caller) -> None:
    call = shared
    assert call("PUT", "/services/bot", {"ready": False}).status == 201
    assert call("PUT", ONE, {"upstream": UPSTREAM, "state": "starting"}).status == 201
    assert call("PUT", ONE, {"upstream": UPSTREAM}).status == 200
    assert call("GET", "/sessions?limit=1").json["next"] is None
    assert call("POST", ONE + "/touch", {"ttl": 60}).json["ttl"] == 60
    assert call("POST", ONE + "/drain").json["state"] == "draining"
    assert call("DELETE", ONE).json["state"] == "ended"
    assert call("GET", ONE).json["state"] == "ended"
    key = call("POST", "/keys", {"services": ["bot"]}).json
    successor = call("POST", f"/keys/{key['id']}/rotate").json
    listed = {each["id"] for each in call("GET", "/keys").json["keys"]}
    assert listed == {key["id"], successor["id"]}
    assert call("DELETE", f"/keys/{key['id']}").status == 204
    assert call("GET", f"/keys/{key['id']}").status == 404

    # Nor does any spelling of a name upset it.
    for path in ("/services/a%00b", "/services/%FF%FE", "/keys/%C0", "/keys/%00"):
        assert call("GET", path).status == 404


def test_a_store_that_fails_is_503_told_once_and_comes_back(
    kind: Kind, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with over(kind, redis_server.url) as call:
        assert call("PUT", "/services/bot", {}).status == 201
        redis_server.kill()
        for method, path in [("GET", "/services"), ("PUT", "/services/new")]:
            refused = call(method, path)
            sentence = "Service temporarily unavailable"
            slug = "store_unavailable"
            assert refused.refusal == (503, "SP-503-UNAVAILABLE", slug, sentence)
            assert refused.headers["retry-after"] == "1"
        assert call("GET", "/services", key=None).status == 401
        redis_server.start()
        known = [{"name": "bot", "ready": True}]
        assert call("GET", "/services").json["services"] == known
    assert caplog.text.count("the store fails") == 1
    assert caplog.text.count("the store works again") == 1
    assert "Traceback" not in caplog.text
