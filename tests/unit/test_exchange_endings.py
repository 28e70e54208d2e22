"""Whichever way a flow ends: places are given back, and one record is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from session_proxy_middleware import Limits
from session_proxy_middleware.errors import (
    ClientDisconnected,
    RequestTimeout,
    UpstreamUnreachable,
)
from session_proxy_middleware.exchange import FindSession, Flow, RoundTrip, exchange
from session_proxy_middleware.models import Ending, Reply
from tests.unit.test_exchange_order import Head, World
from tests.unit.values import (
    ID,
    KEY_FIELD,
    SECRET,
    a_proxy,
    a_request,
    a_session,
    keyed,
)

COMPLETED = Ending("completed", 10, 20, 0.0123, 0.0456)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "session_proxy"):
        yield caplog


def only(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    [record] = [each for each in caplog.records if each.name == "session_proxy.access"]
    return record


def finish(flow: Flow, reply: object, ending: Ending = COMPLETED) -> None:
    assert isinstance(reply, Reply)
    reply.ending = ending
    assert next(flow, None) is None


def test_a_place_is_held_until_the_reply_has_ended() -> None:
    proxy = a_proxy(limits=Limits(total=1))
    flow = exchange(a_request(), proxy)
    reply = World().until_reply(flow)
    assert proxy.limiter.in_flight == 1
    refused = exchange(a_request(), proxy)
    assert World().until_reply(refused).status == 503
    refused.close()
    assert proxy.limiter.in_flight == 1
    finish(flow, reply)
    assert proxy.limiter.in_flight == 0


def test_a_flow_that_is_closed_at_its_reply_gives_its_place_back() -> None:
    proxy = a_proxy()
    flow = exchange(a_request(), proxy)
    World().until_reply(flow)
    flow.close()
    assert proxy.limiter.in_flight == 0


def round_trip(flow: Flow) -> None:
    """Forward to the point where the session is asked."""
    world = World()
    step = next(flow)
    while not isinstance(step, RoundTrip):
        step = flow.send(world.answers[type(step)])


def test_a_flow_that_is_closed_at_its_round_trip_gives_its_place_back() -> None:
    proxy = a_proxy()
    flow = exchange(a_request(), proxy)
    round_trip(flow)
    assert proxy.limiter.in_flight == 1
    flow.close()
    assert proxy.limiter.in_flight == 0


@pytest.mark.parametrize("failure", [UpstreamUnreachable("x"), ValueError("bug")])
def test_a_flow_that_fails_holds_its_place_until_the_refusal_is_sent(
    failure: Exception,
) -> None:
    proxy = a_proxy()
    flow = exchange(a_request(), proxy)
    round_trip(flow)
    reply = flow.throw(failure)
    assert proxy.limiter.in_flight == 1
    finish(flow, reply)
    assert proxy.limiter.in_flight == 0


@pytest.mark.parametrize("failure", [KeyboardInterrupt, GeneratorExit])
def test_an_interruption_passes_through_and_gives_the_place_back(
    failure: type[BaseException],
) -> None:
    proxy = a_proxy()
    flow = exchange(a_request(), proxy)
    round_trip(flow)
    with pytest.raises(failure):
        flow.throw(failure())
    assert proxy.limiter.in_flight == 0


def test_the_record_of_a_request_says_what_happened(
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(headers=keyed((b"x-request-id", b"r-1"))), a_proxy())
    reply = World(RoundTrip=Head(404)).until_reply(flow)
    finish(flow, reply)
    record = only(records)
    values = {
        "request_id": "r-1",
        "service": "bot",
        "session_id": ID,
        "principal": "k1",
        "method": "GET",
        "path": "/chat",
        "status": 404,
        "answered_by": "session",
        "end_reason": "completed",
        "bytes_received": 10,
        "bytes_sent": 20,
        "headers_ms": 12.3,
        "total_ms": 45.6,
    }
    assert {name: getattr(record, name) for name in values} == values
    assert record.getMessage() == f"GET /bot/sessions/{ID}/chat 404 session completed"


def test_the_record_of_a_refusal_names_its_slug(
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(headers=[]), a_proxy())
    reply = World().until_reply(flow)
    finish(flow, reply)
    record = only(records)
    found = [getattr(record, x) for x in ("status", "answered_by", "end_reason")]
    assert found == [401, "proxy", "unauthenticated"]
    assert record.__dict__["principal"] is None


@pytest.mark.parametrize(
    ("headers", "answered_by"), [(keyed(), "session"), ([], "proxy")]
)
def test_a_reply_that_broke_off_says_why(
    headers: list[tuple[bytes, bytes]],
    answered_by: str,
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(headers=headers), a_proxy())
    reply = World().until_reply(flow)
    finish(flow, reply, Ending("client_disconnected", 0, 5, 0.1, 0.2))
    record = only(records)
    assert record.__dict__["end_reason"] == "client_disconnected"
    assert record.__dict__["answered_by"] == answered_by


def test_a_client_that_left_before_the_answer_is_recorded_as_499(
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(), a_proxy())
    round_trip(flow)
    gone = ClientDisconnected("while waiting")
    gone.ending = Ending("client_disconnected", 7, 0, None, 0.25)
    with pytest.raises(StopIteration):
        flow.throw(gone)
    record = only(records)
    names = ("status", "answered_by", "end_reason", "bytes_received", "headers_ms")
    found = [getattr(record, name) for name in names]
    assert found == [499, "nobody", "client_disconnected", 7, None]
    assert record.__dict__["total_ms"] == 250.0


@pytest.mark.parametrize(("draining", "reason"), [(0, "cancelled"), (1, "draining")])
@pytest.mark.parametrize("replied", [False, True])
def test_a_request_that_the_server_ends_is_recorded_so(
    draining: int, reason: str, replied: bool, records: pytest.LogCaptureFixture
) -> None:
    proxy = a_proxy(drain=0)
    flow = exchange(a_request(), proxy)
    World().until_reply(flow) if replied else round_trip(flow)
    if draining:
        proxy.drain()
    flow.close()
    record = only(records)
    found = [getattr(record, x) for x in ("status", "answered_by", "end_reason")]
    assert found == [*([200, "session"] if replied else [499, "nobody"]), reason]


def test_a_flow_closed_at_its_reply_is_recorded_as_cancelled(
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(), a_proxy())
    World().until_reply(flow)
    flow.close()
    record = only(records)
    assert record.__dict__["end_reason"] == "cancelled"
    assert record.__dict__["total_ms"] is None


@pytest.mark.parametrize("target", [None, b"/a"])
def test_no_secret_query_or_address_is_in_any_log(
    target: bytes | None, records: pytest.LogCaptureFixture
) -> None:
    for answer in (Head(), UpstreamUnreachable("no answer"), OSError("full")):
        flow = exchange(a_request(target, query=b"token=hunter2"), a_proxy())
        reply = World(RoundTrip=answer).until_reply(flow)
        finish(flow, reply)
    text = "\n".join(f"{r.getMessage()} {r.__dict__}" for r in records.records)
    for secret in (SECRET, "hunter2", "10.0.3.7"):
        assert secret not in text


def test_a_bug_is_logged_with_its_traceback_and_answered_without(
    records: pytest.LogCaptureFixture,
) -> None:
    flow = exchange(a_request(), a_proxy())
    reply = World(FindService=ZeroDivisionError("the detail")).until_reply(flow)
    flow.close()
    assert reply.status == 500
    assert reply.body is not None
    assert b"detail" not in reply.body
    [record] = [each for each in records.records if each.name == "session_proxy"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert "ZeroDivisionError" in records.text


def test_trouble_of_the_server_is_a_warning_and_of_the_client_is_not(
    records: pytest.LogCaptureFixture,
) -> None:
    for answers in (
        {"FindKey": OSError("db")},
        {"RoundTrip": UpstreamUnreachable("x")},
    ):
        World(**answers).run(a_request())
    World().run(a_request(headers=[]))
    warnings = [x.getMessage() for x in records.records if x.name == "session_proxy"]
    assert len(warnings) == 2
    assert "store_unavailable" in warnings[0]
    assert "upstream_unreachable" in warnings[1]


def test_a_full_proxy_does_not_fill_the_log(records: pytest.LogCaptureFixture) -> None:
    proxy = a_proxy()
    proxy.drain()
    reply = World().run(a_request(), proxy)
    assert dict(reply.headers)[b"x-session-proxy-error"] == b"draining"
    assert [x for x in records.records if x.name == "session_proxy"] == []


def test_no_record_is_built_when_nobody_reads_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "session_proxy.access"):
        assert World().run(a_request()).status == 200
    assert caplog.records == []


def test_a_request_has_an_id_of_its_own_unless_the_client_sent_a_fit_one() -> None:
    ids = set()
    for fields in (
        [],
        [(b"x-request-id", b"bad id\n")],
        [(b"x-request-id", b"x" * 201)],
    ):
        request = a_request(headers=keyed(*fields))
        reply = World(FindSession=None).run(request)
        assert dict(reply.headers)[b"x-request-id"] == request.id
        assert len(request.id) == 32
        ids.add(request.id)
    assert len(ids) == 3
    request = a_request(headers=keyed((b"x-request-id", b"mine-1")))
    World(FindSession=[a_session()]).run(request)
    assert request.id == b"mine-1"


def test_the_session_that_is_asked_is_the_one_that_was_found() -> None:
    session = a_session("http://10.1.1.1:9/base")
    world = World(FindSession=session)
    world.run(a_request(b"/x%2Fy", query=b"a=1"))
    assert FindSession("bot", ID) in world.steps
    trip = world.steps[-1]
    assert isinstance(trip, RoundTrip)
    assert trip.outbound.target == b"/base/x%2Fy?a=1"
    assert trip.outbound.session is session


@pytest.mark.parametrize("received", [b"", b"hello"])
def test_a_body_of_which_nothing_came_may_have_been_read_outside(
    records: pytest.LogCaptureFixture, received: bytes
) -> None:
    request = a_request(method="POST", headers=[KEY_FIELD, (b"content-length", b"9")])
    flow = exchange(request, a_proxy())
    world = World()
    step = next(flow)
    while not isinstance(step, RoundTrip):
        step = flow.send(world.answers[type(step)])
    assert step.meter is not None
    step.meter.count(received, ended=False)
    reply = flow.throw(RequestTimeout("stalled"))
    assert isinstance(reply, Reply)
    assert reply.status == 408
    assert ("mount the proxy outermost" in records.text) is (received == b"")
    finish(flow, reply)
