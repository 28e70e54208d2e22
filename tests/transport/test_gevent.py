"""Under gevent: of its own `poll`, one turn of its loop does not hear of every
descriptor where many are ready at once. And what stops one greenlet is raised in no
other."""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCHED = """
from gevent import monkey, sleep, spawn
monkey.patch_all()
import socket
from session_proxy_middleware.upstream.waiting import READ, wait
from session_proxy_middleware.wsgi_client import SocketDeparture

def watch(client, session):
    departure = SocketDeparture(client)
    ready = wait(session, READ, timeout=20.0, departure=departure)
    return ready, departure.gone()

pairs = [(socket.socketpair(), socket.socketpair()) for _ in range(300)]
watching = [spawn(watch, client[0], session[0]) for client, session in pairs]
sleep(0.1)
for client, _ in pairs:
    client[1].close()
print(all(each.get(timeout=10) == (0, True) for each in watching))
"""

LATE = """
from gevent import monkey, sleep, spawn
monkey.patch_all()
import socket, time
from session_proxy_middleware.upstream.waiting import READ, wait

pairs = [socket.socketpair() for _ in range(300)]
waiting = [spawn(wait, ours, READ, timeout=0.3) for ours, _ in pairs]
sleep(0.1)
for _, theirs in pairs:
    theirs.sendall(b"in time")
until = time.monotonic() + 0.5
while time.monotonic() < until:
    pass  # The application has the loop.
print(all(each.get(timeout=10) == READ for each in waiting))
"""

KEPT = """
from gevent import monkey, sleep, spawn
monkey.patch_all()
import socket
from session_proxy_middleware import MemoryStore, Timeouts
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from session_proxy_middleware.upstream.blocking_connection import Connection

store = MemoryStore()
session = store.sessions.register("svc", "one", "http://127.0.0.1:9")
transport = HTTP11Transport(timeouts=Timeouts())
pairs = [socket.socketpair() for _ in range(300)]
kept = [Connection(transport, session, ours) for ours, _ in pairs]
for _, theirs in pairs:
    theirs.sendall(b"what nobody asked for")
looks = [spawn(connection.readable) for connection in kept]
print(all(look.get(timeout=10) for look in looks))
"""


def printed_by(code: str) -> tuple[str, str]:
    """Output and errors of a process of its own, since gevent patches a whole one."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("code", [WATCHED, LATE, KEPT], ids=["watched", "late", "kept"])
def test_of_hundreds_that_are_ready_in_one_turn_of_the_loop_all_are_seen(
    code: str,
) -> None:
    """Clients that have left, sessions that have answered before the time was up, and
    kept connections that bytes came on."""
    assert printed_by(code) == ("True\n", "")


SHARED = """
from gevent import monkey, sleep, spawn, Timeout
monkey.patch_all()
from session_proxy_middleware.stores.remembered import Remembered

def ask(name):
    sleep(0.3)
    return name

remembered = Remembered(ask, None, lasts=lambda value: 9, absent=1, entries=10)

def stopped():
    with Timeout(0.1, False):
        remembered.get("one")
    return "stopped"

asking = [spawn(stopped), *(spawn(remembered.get, "one") for _ in range(9))]
sleep(0.05)
killed = spawn(remembered.get, "two")
asking += [killed, *(spawn(remembered.get, "two") for _ in range(9))]
sleep(0.01)
killed.kill(block=False)
got = [each.get(timeout=10) for each in asking]
print(got[:10] == ["stopped"] + 9 * ["one"] and got[11:] == 9 * ["two"])
"""


def test_what_stops_one_who_looks_up_stops_nobody_who_shares_it() -> None:
    assert printed_by(SHARED) == ("True\n", "")
