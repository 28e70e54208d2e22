"""A look that takes no time tells the truth under gevent as well: of its own `poll`,
one turn of its loop does not hear of every descriptor where many are ready at once."""

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


@pytest.mark.parametrize("code", [WATCHED, KEPT], ids=["watched", "kept"])
def test_hundreds_that_end_in_one_turn_of_the_loop_are_all_seen(code: str) -> None:
    """Clients that have left, and kept connections that bytes came on."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
