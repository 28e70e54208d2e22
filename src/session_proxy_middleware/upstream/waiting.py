"""Waiting for a socket, with an eye on the client."""

from __future__ import annotations

import select
import socket
import sys
import time

from ..interfaces import Departure

if sys.platform == "linux":
    import fcntl
    import termios

READ = 1
WRITE = 2

ASK_EVERY = 0.25
"""Seconds between questions, where the client's connection can be asked after but
not waited on."""


def own_poll() -> select.poll:
    """The system's own `poll`, for a look that takes no time.

    gevent's gives such a look one turn of its loop, and that hears of only so many
    descriptors (64, until libev has had reason to ask for more): where many are ready
    at once, it says of some that they are not.
    """
    monkey = sys.modules.get("gevent.monkey")
    kind = select.poll if monkey is None else monkey.get_original("select", "poll")
    poll: select.poll = kind()
    return poll


def look(sock: socket.socket | int, wanted: int) -> list[tuple[int, int]]:
    """What `poll` says of a socket now, of `wanted` (`select.POLLIN`, `POLLOUT`)."""
    poll = own_poll()
    poll.register(sock, wanted)
    return poll.poll(0)


def unconfirmed(sock: socket.socket) -> int:
    """Bytes sent that the other side's system has not taken, where this one tells: it
    does on Linux."""
    if sys.platform != "linux" or sock.fileno() < 0:
        return 0
    told = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(told, sys.byteorder)


def wait(
    sock: socket.socket,
    events: int,
    *,
    timeout: float,
    departure: Departure | None = None,
) -> int:
    """Which of `events` (READ, WRITE) the socket is ready for; 0 when the time is up
    or the client has gone. An error or a hang-up counts as ready, so that the next
    call on the socket tells it. `timeout` in seconds.
    """
    # Looked up on every call: gevent replaces it when it patches.
    poll = select.poll()
    wanted = select.POLLIN if events & READ else 0
    wanted |= select.POLLOUT if events & WRITE else 0
    poll.register(sock, wanted)
    client = departure.fileno() if departure is not None else None
    if client is not None:
        poll.register(client, select.POLLIN)
    ask = departure is not None and client is None
    end = time.monotonic() + timeout
    left = timeout
    while True:
        ready = 0
        pause = min(left, ASK_EVERY) if ask else left
        found = poll.poll(max(0.0, pause) * 1000)
        left = end - time.monotonic()
        if not found and left <= 0:
            # Where gevent's loop was held up, the time may be over before it hears.
            found = look(sock, wanted)
        for descriptor, event in found:
            if descriptor != client:
                if event & ~select.POLLOUT:
                    ready |= READ
                if event & ~select.POLLIN:
                    ready |= WRITE
            elif departure is not None and not departure.gone():
                # Bytes of a next request: they hide the end of the stream, so
                # looking further would only spin.
                poll.unregister(descriptor)
                client = None
            else:
                return 0
        if ready:
            return ready & events or READ
        if left <= 0 or (ask and departure is not None and departure.gone()):
            return 0
