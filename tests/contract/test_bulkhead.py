"""One session hangs, and the others do not notice.

Under WSGI each request of a hung session holds a thread of the server until a timeout
ends it. What keeps threads free for the others is a `per_session` limit below their
number: here 100, as `Limits` has it, of the 160 that `THREADS` says.
"""

from __future__ import annotations

import select
import time

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.wire import PATIENCE, Wire
from .conftest import Serve
from .test_endings import silent

CLIENTS = 500
FEWER = 150
"""On the servers of which `pytest` alone tries a part."""
PER_SESSION = 100


def answered(clients: list[Wire], many: int) -> list[Wire]:
    """Those that have an answer, once so many have."""
    poll = select.poll()
    by_descriptor = {each.sock.fileno(): each for each in clients}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    found: list[Wire] = []
    end = time.monotonic() + PATIENCE
    while len(found) < many and time.monotonic() < end:
        for descriptor, _ in poll.poll(1000):
            poll.unregister(descriptor)
            found.append(by_descriptor[descriptor])
    return found


@pytest.mark.alone
def test_a_hung_session_at_its_limit_leaves_nineteen_others_alone(
    portal: Portal, serve: Serve
) -> None:
    hung = serve(silent)
    site = portal.mount(hung)
    others = [portal.mount(serve()) for _ in range(19)]
    many = CLIENTS if portal.whole else FEWER
    clients = [site.open("GET", "/hangs") for _ in range(many)]
    hung.connection(PER_SESSION - 1)
    refused = answered(clients, many - PER_SESSION)
    assert len(refused) == many - PER_SESSION
    for client in refused:
        check(client.answer(), contract.TOO_MANY)
    assert site.in_flight() == PER_SESSION
    for number in range(3 if portal.whole else 1):
        for other in others:
            assert other.request("GET", f"/{number}").status == 200
            assert other.request("POST", f"/{number}", body=b"{}").status == 200
    # Not one more connection to the hung one, and all of them are let go.
    assert len(hung.connections) == PER_SESSION
    for client in clients:
        client.close()
    # At once; or, where no departure is seen, once the session was silent too long.
    assert hung.all_gone(1.0 if portal.expected.sees_departure else 2 * PATIENCE)
    assert site.idle()
