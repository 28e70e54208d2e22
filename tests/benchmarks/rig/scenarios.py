"""The loads: each runs its candidates in turn, round after round."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..servers import wire
from . import catalogue, events, hung, sockets, transfer, wrk
from .bench import Bench, Row
from .processes import KIB, Server
from .turns import Started, blamed, turns

CONNECTIONS: Final = (1, 32, 256)
#: The number of connections that verdicts are given at.
HEADLINE: Final = 32
POST_BYTES: Final = 1024
SESSIONS: Final = 2000
STREAMS: Final = 500
HEALTHY: Final = 19
WAITING: Final = 500
GIB: Final = 1024**3
MIB: Final = 1024**2
WARMING_SECONDS: Final = 1
CONNECTING_SECONDS: Final = 2

Run = Callable[[Bench], list[Row]]


def small_get(kind: str) -> Run:
    """A small GET with a dozen headers, on each number of connections."""

    def run(bench: Bench) -> list[Row]:
        candidates = catalogue.of(kind, floor=True)
        with (
            bench.json_upstream() as port,
            bench.serving(candidates, upstream_port=port, tail=wire.CHAT) as started,
        ):
            quick = bench.settings.quick
            connections = CONNECTIONS[1:] if quick else CONNECTIONS
            return _requests(bench, started, connections=connections)

    return run


def small_post(kind: str) -> Run:
    """A POST of 1 KiB."""

    def run(bench: Bench) -> list[Row]:
        candidates = catalogue.of(kind)
        with (
            bench.json_upstream() as port,
            bench.serving(candidates, upstream_port=port, tail=wire.CHAT) as started,
        ):
            return _requests(
                bench, started, connections=(HEADLINE,), body_bytes=POST_BYTES
            )

    return run


def sessions(bench: Bench) -> list[Row]:
    """One session and 2,000 in turn, each with an origin of its own."""
    candidates = catalogue.named(
        "session-proxy", "session-proxy-httpx", "fastapi-httpx", "session-proxy-wsgi"
    )
    one = [wire.path(0, wire.CHAT)]
    many = [wire.path(index, wire.CHAT) for index in range(SESSIONS)]
    with (
        bench.json_upstream(addresses=SESSIONS) as port,
        bench.serving(
            candidates, upstream_port=port, tail=wire.CHAT, sessions=SESSIONS
        ) as started,
    ):
        for turn, row, server in turns(bench, started):
            with blamed(row, server):
                bench.progress(f"{turn}: 1 session")
                alone = _warm_and_driven(bench, server, one)
                _record(row, alone, "one")
                bench.progress(f"{turn}: {SESSIONS} sessions")
                together = _warm_and_driven(bench, server, many)
                _record(row, together, "many")
                if alone.requests and together.requests:
                    row.add("ratio", together.cpu_us / alone.cpu_us)
        return [row for row, _ in started]


def bulkhead(bench: Bench) -> list[Row]:
    """19 sessions without and with a twentieth that hangs and has 500 clients.

    The same load right after each other, on a server that holds nothing back by
    limits: what the others feel is what 500 waiting requests cost by themselves.
    """
    candidates = catalogue.named(
        "session-proxy", "session-proxy-httpx", "fastapi-httpx"
    )
    paths = [wire.path(index, wire.CHAT) for index in range(HEALTHY)]
    with (
        bench.json_upstream(addresses=HEALTHY) as port,
        bench.serving(
            candidates, upstream_port=port, tail=wire.CHAT, sessions=HEALTHY + 1
        ) as started,
    ):
        for turn, row, server in turns(bench, started):
            with blamed(row, server):
                bench.progress(f"{turn}: {HEALTHY} sessions")
                alone = _warm_and_driven(bench, server, paths)
                _record(row, alone, "alone")
                bench.progress(f"{turn}: one more that hangs, {WAITING} clients")
                with hung.session(
                    server, index=HEALTHY, upstream_port=port, clients=WAITING
                ):
                    beside = _warm_and_driven(bench, server, paths)
                _record(row, beside, "beside")
                if alone.requests and beside.requests:
                    row.add("ratio", beside.p99_ms / alone.p99_ms)
        return [row for row, _ in started]


def download(bench: Bench) -> list[Row]:
    """256 MiB from nginx's sendfile to a client that throws them away."""
    with (
        bench.json_upstream() as port,
        bench.serving(
            catalogue.CANDIDATES, upstream_port=port, tail=wire.BLOB
        ) as started,
    ):
        return _transfers(bench, started, transfer.download, wire.BLOB)


def upload(bench: Bench) -> list[Row]:
    """256 MiB to an upstream that counts them."""
    with (
        bench.sink_upstream() as port,
        bench.serving(
            catalogue.CANDIDATES, upstream_port=port, tail=wire.UPLOAD
        ) as started,
    ):
        return _transfers(bench, started, transfer.upload, wire.UPLOAD)


def event_streams(bench: Bench) -> list[Row]:
    """500 event streams at 10 events a second, on servers just started.

    Memory is what they add to a server that has answered no more than a few
    requests and streams. A second round, the last, shows what the first left behind.
    """
    path = wire.path(0, wire.EVENTS)
    candidates = catalogue.of(catalogue.ASGI)
    with (
        bench.sink_upstream() as port,
        bench.serving(candidates, upstream_port=port, tail=wire.EVENTS) as started,
    ):
        idle: dict[str, int] = {}
        for turn, row, server in turns(bench, started, at_most=2):
            with blamed(row, server):
                bench.progress(f"{turn}: {STREAMS} streams")
                if row.candidate not in idle:
                    few = events.stream(
                        server, path=path, streams=5, settle=0.3, seconds=0.2
                    )
                    asyncio.run(few)
                    idle[row.candidate] = server.rss()
                streamed = asyncio.run(
                    events.stream(
                        server,
                        path=path,
                        streams=STREAMS,
                        settle=1.0,
                        seconds=bench.settings.seconds + 1.0,
                    )
                )
                growth = streamed.rss - idle[row.candidate]
                first = "kib" not in row.samples
                row.add("kib" if first else "again", growth / KIB / STREAMS)
                row.add("cpu", streamed.cpu_seconds / streamed.events * 1e6)
                row.add("rate", streamed.events / streamed.seconds)
        return [row for row, _ in started]


def _requests(
    bench: Bench, started: Started, *, connections: tuple[int, ...], body_bytes: int = 0
) -> list[Row]:
    paths = [wire.path(0, wire.CHAT)]
    for row, server in started:
        if server is not None:
            bench.progress(f"warming {row.candidate}")
            with blamed(row, server):
                wrk.drive(
                    server,
                    paths=paths,
                    connections=HEADLINE,
                    seconds=WARMING_SECONDS,
                    body_bytes=body_bytes,
                )
    for turn, row, server in turns(bench, started):
        with blamed(row, server):
            for count in connections:
                bench.progress(f"{turn}: {count} connections")
                load = wrk.drive(
                    server,
                    paths=paths,
                    connections=count,
                    seconds=bench.settings.seconds,
                    body_bytes=body_bytes,
                )
                _record(row, load, str(count))
    return [row for row, _ in started]


def _warm_and_driven(bench: Bench, server: Server, paths: Sequence[str]) -> wrk.Load:
    """A load right after one of the same kind: 2,000 connects are not measured."""
    warming = WARMING_SECONDS if len(paths) == 1 else CONNECTING_SECONDS
    loads = [
        wrk.drive(server, paths=paths, connections=HEADLINE, seconds=seconds)
        for seconds in (warming, bench.settings.seconds)
    ]
    return loads[-1]


def _transfers(
    bench: Bench, started: Started, carry: Callable[..., float], tail: str
) -> list[Row]:
    path = wire.path(0, tail)
    for turn, row, server in turns(bench, started):
        with blamed(row, server):
            bench.progress(f"{turn}: {tail} of {wire.BLOB_BYTES // MIB} MiB")
            server.reset_peak()
            before, cpu = server.rss(), server.cpu_seconds()
            seconds = carry(server, path=path)
            spent = server.cpu_seconds() - cpu
            row.add("mbps", wire.BLOB_BYTES / 1e6 / seconds)
            row.add("cpu", spent / (wire.BLOB_BYTES / GIB))
            row.add("growth", (server.peak_rss() - before) / MIB)
    return [row for row, _ in started]


def _record(row: Row, load: wrk.Load, label: str) -> None:
    row.add(f"rps@{label}", load.rate)
    row.add("disturbed", float(load.disturbed))
    if not load.requests:
        row.note(f"at {label}: no request was completed in time")
        return
    row.add(f"cpu@{label}", load.cpu_us)
    row.add(f"p99@{label}", load.p99_ms)
    if load.faults:
        row.note(f"at {label}: {load.faults}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load, and the candidates a quick run of it cannot do without."""

    run: Run
    quick: frozenset[str]


_ASGI: Final = ("bare-uvicorn", "session-proxy", "nginx")
_WSGI: Final = ("bare-gunicorn", "session-proxy-wsgi")
_HTTPX: Final = ("fastapi-proxy-lib", "fastapi-httpx")

SCENARIOS: Final = {
    "asgi-get": Scenario(
        small_get(catalogue.ASGI), frozenset({*_ASGI, *_HTTPX, "asgiproxy"})
    ),
    "asgi-post": Scenario(small_post(catalogue.ASGI), frozenset(_ASGI)),
    "wsgi-get": Scenario(
        small_get(catalogue.WSGI),
        frozenset({*_WSGI, "werkzeug-proxy", "django-revproxy"}),
    ),
    "wsgi-post": Scenario(small_post(catalogue.WSGI), frozenset(_WSGI)),
    "sessions": Scenario(sessions, frozenset({"session-proxy", "session-proxy-wsgi"})),
    "bulkhead": Scenario(bulkhead, frozenset({"session-proxy"})),
    "download": Scenario(download, frozenset({*_ASGI, *_WSGI})),
    "upload": Scenario(upload, frozenset({*_ASGI, *_WSGI})),
    "events": Scenario(event_streams, frozenset({*_ASGI, "asgiproxy"})),
    "websocket": Scenario(sockets.echoes, frozenset({*_ASGI, "fastapi-proxy-lib"})),
    "sockets": Scenario(sockets.many, frozenset(_ASGI)),
}
