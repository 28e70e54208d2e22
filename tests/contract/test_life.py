"""A session that starts, drains and ends; and that somebody notices it is in use."""

from __future__ import annotations

import socket
import threading
import time
import uuid

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Conn, answering, response
from ..support.wire import PATIENCE, Message
from .conftest import Serve

NOT_YET = response(status="503 Service Unavailable")


class Starting:
    """A session whose `/readyz` says 503 until it is told to be ready."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.probed = threading.Semaphore(0)
        self.probes: list[Message] = []
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def play(self, conn: Conn) -> None:
        while True:
            request = conn.request()
            if request.target != b"/readyz":
                conn.reply(b"served")
                continue
            with self._lock:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                self.probes.append(request)
            ready = self.ready.is_set()
            self.probed.release()
            time.sleep(0.05)  # So that another one at the same time would be seen.
            with self._lock:
                self.at_once -= 1
            conn.send(response() if ready else NOT_YET)


def together(site: Site, count: int) -> tuple[list[threading.Thread], list[Message]]:
    """So many requests under way, and their answers as they come."""
    answers: list[Message] = []
    threads = [
        threading.Thread(target=lambda: answers.append(site.request()))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, answers


def state(portal: Portal, service: str) -> str:
    [session] = portal.control("listed", service=service)
    found: str = session["state"]
    return found


def a_service() -> str:
    return f"life-{uuid.uuid4().hex[:8]}"


def test_a_session_that_is_starting_is_refused_unless_it_is_waited_for(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, state="starting")
    check(site.request(), contract.STARTING)
    check(site.request("HEAD"), contract.STARTING, to="HEAD")
    assert upstream.connections == []
    assert portal.control("ready", service=site.service, id=site.id)
    assert site.request().status == 200


def test_the_first_calls_after_a_start_just_work_and_one_probe_is_made_at_a_time(
    portal: Portal, serve: Serve
) -> None:
    starting = Starting()
    upstream = serve(starting.play)
    service = a_service()
    site = portal.mount(upstream, via="waiting", service=service, state="starting")
    threads, answers = together(site, 8)
    for _ in range(3):
        assert starting.probed.acquire(timeout=PATIENCE)
    assert answers == []
    assert state(portal, service) == "starting"
    starting.ready.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [answer.body for answer in answers] == [b"served"] * 8
    assert starting.most_at_once == 1
    assert state(portal, service) == "running"
    probes = len(starting.probes)
    assert site.request().body == b"served"
    assert len(starting.probes) == probes
    first = starting.probes[0]
    assert first.method == b"GET"
    assert first.one("x-daily-session-id") == site.id.encode()
    assert not first.has("authorization")


def test_a_session_is_waited_for_until_it_listens(portal: Portal, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    site = portal.mount(f"http://127.0.0.1:{port}", via="waiting", state="starting")
    threads, answers = together(site, 3)
    other = serve(answering(response(b"here")))
    named = {"service": site.service, "id": site.id, "upstream": other.url}
    portal.control("register", **named, state="starting")
    for thread in threads:
        thread.join(PATIENCE)
    assert [answer.body for answer in answers] == [b"here"] * 3


def test_a_session_that_does_not_come_up_in_time_is_refused(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(lambda conn: None)  # It accepts, and answers nothing.
    site = portal.mount(upstream, via="brisk", state="starting")
    began = time.monotonic()
    check(site.request(), contract.STARTING)
    assert time.monotonic() - began >= 0.5


def test_without_a_path_any_answer_is_ready(portal: Portal, serve: Serve) -> None:
    upstream = serve(answering(response(status="404 Not Found")))
    site = portal.mount(upstream, via="brisk", state="starting")
    assert site.request(path="/x").status == 404
    assert [each.method for each in upstream.requests] == [b"HEAD", b"GET"]


def test_the_platform_may_say_that_a_session_is_ready(
    portal: Portal, serve: Serve
) -> None:
    starting = Starting()
    site = portal.mount(serve(starting.play), via="waiting", state="starting")
    threads, answers = together(site, 2)
    assert starting.probed.acquire(timeout=PATIENCE)
    assert portal.control("ready", service=site.service, id=site.id)
    for thread in threads:
        thread.join(PATIENCE)
    assert [answer.body for answer in answers] == [b"served"] * 2


def test_a_session_that_ends_while_it_starts_is_not_found(
    portal: Portal, serve: Serve
) -> None:
    starting = Starting()
    site = portal.mount(serve(starting.play), via="waiting", state="starting")
    threads, answers = together(site, 2)
    assert starting.probed.acquire(timeout=PATIENCE)
    assert portal.control("end", service=site.service, id=site.id)
    for thread in threads:
        thread.join(PATIENCE)
    for answer in answers:
        check(answer, contract.SESSION_NOT_FOUND)


def test_who_may_not_call_is_not_held(portal: Portal, serve: Serve) -> None:
    starting = Starting()
    site = portal.mount(serve(starting.play), via="waiting", state="starting")
    check(site.request(key="pk_wrong"), contract.WRONG_CREDENTIAL)
    check(site.request("POST", "/bot"), contract.RESERVED_PATH)
    check(site.request(path="/../x"), contract.MALFORMED_PATH)
    assert starting.probes == []


def test_a_draining_session_finishes_what_runs_and_refuses_what_is_new(
    portal: Portal, serve: Serve
) -> None:
    finish = threading.Event()

    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        assert finish.wait(PATIENCE)
        conn.send(b"done")

    site = portal.mount(serve(play))
    with site.open() as client:
        head = client.response_head()
        assert portal.control("drain_session", service=site.service, id=site.id)
        check(site.request(), contract.DRAINING)
        finish.set()
        assert client.body(head).body == b"halfdone"
        assert head.end == "whole"


def test_an_ended_session_is_not_found_and_its_idle_connections_are_closed(
    portal: Portal, serve: Serve
) -> None:
    upstream, other = serve(), serve()
    site, neighbour = (portal.mount(each, via="v1") for each in (upstream, other))
    assert site.request().status == 200
    assert neighbour.request().status == 200
    assert portal.control("end", service=site.service, id=site.id)
    # Idle ones would live for 3 s.
    assert upstream.all_gone(1.0)
    assert not other.connection().gone.is_set()
    check(site.request(), contract.SESSION_NOT_FOUND)


def test_a_session_whose_time_is_over_is_not_found(
    portal: Portal, serve: Serve
) -> None:
    service = a_service()
    site = portal.mount(serve(), service=service, ttl=0.05)
    end = time.monotonic() + PATIENCE
    while state(portal, service) != "ended":
        assert time.monotonic() < end
    check(site.request(), contract.SESSION_NOT_FOUND)


def active_at(portal: Portal, service: str) -> float | None:
    portal.control("flush", via="v1")
    [session] = portal.control("listed", service=service)
    found: float | None = session["active_at"]
    return found


def test_the_last_activity_is_that_of_bytes(portal: Portal, serve: Serve) -> None:
    more = threading.Semaphore(0)

    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(2):
            assert more.acquire(timeout=PATIENCE)
            conn.send(b"data: x\n\n")

    service = a_service()
    site = portal.mount(serve(play), via="v1", service=service)
    assert active_at(portal, service) is None
    with site.open() as client:
        head = client.response_head()
        body = iter(client.pieces(head))
        more.release()
        assert b"data" in next(body)
        first = active_at(portal, service)
        assert first is not None
        assert active_at(portal, service) == first
        more.release()
        assert b"data" in next(body)
        second = active_at(portal, service)
        assert second is not None
        assert second > first


def test_a_key_remembers_that_it_was_used(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(), via="v1")
    began = time.time()
    assert site.request(key="pk_second").status == 200
    portal.settled()
    portal.control("flush", via="v1")
    assert portal.control("used", secret="pk_second") >= began
