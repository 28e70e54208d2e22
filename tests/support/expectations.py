"""What a test asks of its server in passing. What makes a test impossible is in
`instead`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

WHOLE = ("uvicorn", "gunicorn")
"""What `pytest` alone tries everything on."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a test asks of its server in passing.

    - `server`: how its `Server` field begins.
    - `dated`: its answers have a `Date`.
    - `interim`: what it says by itself to `Expect: 100-continue`, before any
      application runs.
    - `keep_alive`: it answers several requests on one connection.
    - `drains`: an upload that was answered early is read to its end, and the
      connection kept.
    - `hosts`: it refuses two Host fields by itself.
    - `chunks_for_1_0`: it sends chunks to clients of HTTP/1.0.
    - `fails_itself`: requests that it does not understand get a 500 of its own.
    - `breaks_off`: a response that is truncated breaks the connection off.
    - `sees_departure`: a client that leaves is seen before anything is written to it.
    - `cancels`: at its end, it cancels what still runs, and does not only end.
    - `logs`: what it writes to its log as if it were a bug.
    - `counts`: a response that is there at once gets a length, whatever framed it.
    - `joins`: what stands between equal request fields in an environ.
    - `mounts`: told the path it is mounted at, it takes requests with that path
      (`whole`), or without it, as a front proxy leaves them (`stripped`).
    - `consumed`: what is answered when an outer middleware has read the body: 408
      where reading on waits for the client, as if it had stalled.
    - `half_close`: a client that has closed its sending half is still answered.
    """

    asgi: bool
    server: bytes
    dated: bool = True
    interim: tuple[int, ...] = ()
    keep_alive: bool = True
    drains: bool = False
    hosts: bool = False
    chunks_for_1_0: bool = False
    fails_itself: bool = False
    breaks_off: bool = True
    sees_departure: bool = True
    cancels: bool = False
    logs: re.Pattern[str] | None = None
    counts: bool = False
    joins: bytes = b","
    mounts: tuple[str, ...] = ()
    consumed: int = 500
    half_close: bool = False


def _traceback(begins: str, ends: str) -> re.Pattern[str]:
    """One entry of a log with a traceback."""
    entry = rf"(?m)^{begins}.*\nTraceback(?:(?!^ERROR).*\n)*?^{ends}.*\n"
    return re.compile(entry)


BOTH = ("stripped", "whole")
_GUNICORN = Expected(
    asgi=False, server=b"gunicorn", interim=(100,), hosts=True, mounts=("whole",)
)

EXPECTED = {
    "uvicorn": Expected(
        asgi=True,
        cancels=True,
        server=b"uvicorn",
        drains=True,
        chunks_for_1_0=True,
        mounts=("stripped",),
        consumed=408,
    ),
    "uvicorn-h11": Expected(
        asgi=True,
        cancels=True,
        server=b"uvicorn",
        drains=True,
        # It answers a malformed chunk itself and leaves the application to find out.
        logs=_traceback("ERROR: .*ASGI application", "h11.*state=MUST_CLOSE"),
        hosts=True,
        mounts=("stripped",),
        consumed=408,
    ),
    "hypercorn": Expected(
        asgi=True,
        cancels=True,
        server=b"hypercorn",
        interim=(100,),
        hosts=True,
        mounts=BOTH,
        consumed=408,
    ),
    "granian": Expected(
        asgi=True,
        server=b"granian",
        fails_itself=True,
        counts=True,
        mounts=BOTH,
        consumed=408,
    ),
    "daphne": Expected(
        asgi=True,
        cancels=True,
        server=b"daphne",
        dated=False,
        breaks_off=False,
        mounts=BOTH,
        consumed=408,
    ),
    "gunicorn": _GUNICORN,
    "gunicorn-sync": replace(_GUNICORN, keep_alive=False),
    "gunicorn-gevent": _GUNICORN,
    "waitress": Expected(
        asgi=False,
        server=b"waitress",
        # Whatever breaks a response off, and a fault of its own when a client leaves.
        logs=_traceback(
            "ERROR:waitress:Exception w",
            "(ConnectionResetError: |AttributeError: 'HTTPRequestParser')",
        ),
        joins=b", ",
        mounts=BOTH,
    ),
    "cheroot": Expected(
        asgi=False,
        server=b"Cheroot",
        fails_itself=True,
        sees_departure=False,
        half_close=True,
    ),
    "werkzeug": Expected(
        asgi=False,
        server=b"Werkzeug",
        interim=(100, 100),
        keep_alive=False,
        chunks_for_1_0=True,
        consumed=408,
    ),
}
