"""`session-proxy demo --check`: the calls, the table and the exit status."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import session_proxy_middleware
from session_proxy_middleware.demo.call import Answer, Call, Endpoints
from session_proxy_middleware.demo.calls import EVENTS, calls
from session_proxy_middleware.demo.check import attempt, check
from session_proxy_middleware.demo.settings import Bot

from .running import COMMAND, Demo

ROW = re.compile(
    r"^(?P<name>.+?) +(?P<expected>\d+) +(?P<status>\d+|-) +(?P<ms>[\d.]+)"
    r"  (?P<who>\S+) +(?P<verdict>OK|FAIL.*)$",
    re.M,
)
BOTS = (
    Bot(name="bot-1", id="first", upstream="http://127.0.0.1:1"),
    Bot(name="bot-2", id="second", upstream="http://127.0.0.1:2"),
)
KEYS = {"secret": "pk_any", "admin_key": "adm_any"}
SCRIPT = [str(Path(sys.executable).with_name("session-proxy")), "demo"]


@pytest.mark.parametrize(
    ("command", "wsgi"),
    [(SCRIPT, False), ([*COMMAND, "--wsgi"], True)],
    ids=["asgi", "wsgi"],
)
def test_every_call_comes_back_as_expected(command: list[str], wsgi: bool) -> None:
    done = subprocess.run(
        [*command, "--check"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows = [row.groupdict() for row in ROW.finditer(done.stdout)]
    expected = calls(BOTS, wsgi=wsgi)
    assert [(row["name"], row["status"], row["who"]) for row in rows] == [
        (call.name, str(call.status), call.answered_by) for call in expected
    ]
    assert {row["verdict"] for row in rows} == {"OK"}
    assert all(row["expected"] == row["status"] for row in rows)
    sockets = [row["status"] for row in rows if "WebSocket" in row["name"]]
    assert sockets == (["501"] if wsgi else ["101"])
    assert done.stdout.endswith(
        f"\n{len(expected)} of {len(expected)} calls came back as expected.\n"
    )


def test_a_session_that_dies_meanwhile_fails_the_check(tmp_path: Path) -> None:
    with Demo(tmp_path, "--check") as demo:
        demo.until("answered by")
        # The call to this session comes after the events, which take their time.
        os.kill(demo.pid("bot-2"), signal.SIGKILL)
        assert demo.process.wait(30) == 1
        rows = {row["name"]: row for row in ROW.finditer(demo.output)}
        assert rows.pop("the other session")["verdict"] == "FAIL status 502, not 200"
        assert {row["verdict"] for row in rows.values()} == {"OK"}
        assert f"{len(rows)} of {len(rows) + 1} calls" in demo.output
        assert "upstream_unreachable" in demo.output.partition(" calls came back")[2]


def test_an_error_that_no_answer_shows_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=lambda: 1 / 0).start()\n"
    )
    source = Path(session_proxy_middleware.__file__).parents[1]
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(source)])}
    with Demo(tmp_path, "--check", environment=environment) as demo:
        assert demo.process.wait(30) == 1
        count = len(calls(BOTS))
        assert f"{count} of {count} calls came back as expected.\n" in demo.output
        assert "Errors were printed by: bot-1, bot-2, admin, portal.\n" in demo.output
        assert "portal | ZeroDivisionError: division by zero" in demo.output


def attempted(answer: bytes, call: Call) -> str | None:
    """The fault found with a call that gets exactly these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65_536)
                connection.sendall(answer)

        server = threading.Thread(target=play)
        server.start()
        port = listener.getsockname()[1]
        fault = attempt(call, Endpoints(portal=port, admin=port, **KEYS)).fault
        server.join()
    return fault


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "RemoteDisconnected: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered by ?, not bot-1"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status 500, not 200"),
        (
            b"HTTP/1.1 200 OK\r\nX-Session-Proxy-Error: internal_error\r\n"
            b"X-Answered-By: bot-1\r\nContent-Length: 0\r\n\r\n",
            "answered by proxy, not bot-1",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-Answered-By: bot-1\r\nContent-Length: 2\r\n\r\n{}",
            "session_id is None, not 'first'",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-Answered-By: bot-1\r\nContent-Length: 2\r\n\r\nno",
            "not the expected body: ",
        ),
    ],
)
def test_an_answer_that_differs_is_a_fault(answer: bytes, fault: str) -> None:
    [call] = [call for call in calls(BOTS) if call.name == "JSON from a session"]
    found = attempted(answer, call)
    assert found is not None and found.startswith(fault)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "ConnectionError: "),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "ConnectionError: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200, not 101"),
        (
            b"HTTP/1.1 401 Unauthorized\r\nX-Session-Proxy-Error: unauthenticated\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            "status 401, not 101",
        ),
    ],
)
def test_a_websocket_that_is_not_opened_is_a_fault(answer: bytes, fault: str) -> None:
    [call] = [call for call in calls(BOTS) if call.says is not None]
    found = attempted(answer, call)
    assert found is not None and found.startswith(fault)


def test_nobody_at_the_port_fails_every_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said: list[str] = []
    nobody = Endpoints(portal=port, admin=port, **KEYS)
    assert not check(calls(BOTS), nobody, say=said.append)
    assert said[-1] == f"0 of {len(calls(BOTS))} calls came back as expected."
    assert all("FAIL ConnectionRefusedError" in line for line in said[1:-2])


def test_events_that_were_held_back_are_a_fault() -> None:
    [call] = [call for call in calls(BOTS) if call.name == "server-sent events"]
    sent = time.time()
    events = [
        b'data: {"number": %d, "sent_at": %f}\n\n' % (number, sent + number)
        for number in range(1, EVENTS + 1)
    ]

    def came(*pieces: tuple[float, bytes]) -> str | None:
        return call.verify(Answer(status=200, headers={}, pieces=[*pieces]))

    late = sent + EVENTS + 1
    assert came((sent + 1, events[0]), (late, b"".join(events[1:]))) is None
    assert came((late, b"".join(events))) is not None
    assert came((sent + 1, b"".join(events[1:]))) is not None
