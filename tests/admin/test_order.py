"""The flow by hand: what is asked when, and what a request that breaks off leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore
from session_proxy_middleware.admin.asgi import AdminAPI
from session_proxy_middleware.admin.exchange import (
    Authenticate,
    ReadBody,
    Request,
    exchange,
)
from session_proxy_middleware.admin.operation import Call
from session_proxy_middleware.errors import ClientDisconnected
from session_proxy_middleware.models import Reply

from ..support.wire import PATIENCE, connect
from .serving import ADMIN_API, KEY, Kind

ONE = "/services/bot/sessions/57af5437-97a2-4646-9873-a5c5935bd705"


def a_request(method: str = "PUT", path: str = ONE, key: str | None = KEY) -> Request:
    authorization = () if key is None else (f"Bearer {key}".encode(),)
    json = (b"application/json",)
    return Request(method, path, "", b"", authorization, json, (), None)


def an_api(**options: Any) -> AdminAPI:
    return AdminAPI(MemoryStore(), **(options or {"keys": [KEY]}))


@pytest.mark.parametrize("key", [None, "adm_stranger_0123456789"])
def test_a_stranger_is_answered_before_anything_is_asked(key: str | None) -> None:
    step = next(exchange(a_request(key=key), an_api()))
    assert isinstance(step, Reply) and step.status == 401


def test_the_body_is_read_last_and_only_for_what_takes_one() -> None:
    flow = exchange(a_request(), an_api())
    first = next(flow)
    assert isinstance(first, Call) and (first.part, first.method) == ("keys", "lookup")
    assert isinstance(flow.send(None), ReadBody)
    for request in [a_request("DELETE"), a_request("GET"), a_request(path="/nowhere")]:
        flow = exchange(request, an_api())
        next(flow)
        assert not isinstance(flow.send(None), ReadBody)


def test_a_hook_is_the_first_to_be_asked() -> None:
    flow = exchange(a_request(), an_api(authenticate=lambda token: token))
    step = next(flow)
    assert isinstance(step, Authenticate)
    assert (step.token, KEY in repr(step)) == (KEY, False)


def broken_off(flow: Any) -> None:
    flow.close()


def left(flow: Any) -> None:
    with pytest.raises(StopIteration):
        flow.throw(ClientDisconnected("gone"))


@pytest.mark.parametrize("end", [broken_off, left])
def test_a_change_that_is_broken_off_is_recorded_as_499(
    end: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "session_proxy.admin")
    flow = exchange(a_request("POST", "/keys"), an_api())
    next(flow)
    flow.send(None)
    end(flow)
    assert [each.getMessage() for each in caplog.records] == [
        "admin-1 key.create /keys 499"
    ]


def test_a_client_that_leaves_in_its_upload_changes_nothing(
    kind: Kind, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "session_proxy.admin")
    store = MemoryStore()
    call = serve(ADMIN_API[kind](store, keys=[KEY]))
    with connect(("127.0.0.1", call.port)) as client:
        client.send(
            b"PUT " + ONE.encode() + b" HTTP/1.1\r\nHost: a\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n"
            b"Authorization: Bearer " + KEY.encode() + b'\r\n\r\n{"upstream": '
        )
    end = time.monotonic() + PATIENCE
    while not (told := [each.getMessage() for each in caplog.records]):
        assert time.monotonic() < end, "nothing is recorded"
        time.sleep(0.01)
    # Under WSGI a client that has gone is not told from one that sends nonsense.
    status = 499 if kind == "asgi" else 400
    assert told == [
        "admin-1 session.register service=bot "
        f"session_id=57af5437-97a2-4646-9873-a5c5935bd705 {status}"
    ]
    assert store.sessions.list() == []
