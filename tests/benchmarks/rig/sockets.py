"""The loads on WebSockets: echoes, and very many that are open at once."""

from __future__ import annotations

import time
from typing import Final

from ..servers import wire
from . import catalogue, echo
from .bench import Bench, Row
from .processes import KIB
from .turns import blamed, turns

CONNECTIONS: Final = 32
SOCKETS: Final = 2000
WARMING_SECONDS: Final = 1.0
SETTLING_SECONDS: Final = 1.0
#: Without fastapi-proxy-lib: httpcore scans its list of connections at every request,
#: so that 2,000 take a minute and a half to open.
MANY: Final = ("bare-uvicorn", "session-proxy", "asgiproxy", "nginx")
ECHOES: Final = (*MANY, "fastapi-proxy-lib")


def echoes(bench: Bench) -> list[Row]:
    """Echoes of 125 bytes, one message at a time on each of 32 sockets."""
    path = wire.path(0, wire.SOCKET)
    with (
        bench.echo_upstream() as port,
        bench.serving(
            catalogue.named(*ECHOES), upstream_port=port, tail=wire.SOCKET
        ) as started,
    ):
        for turn, row, server in turns(bench, started):
            with (
                blamed(row, server),
                echo.Clients(server, path, CONNECTIONS) as clients,
            ):
                bench.progress(f"{turn}: {CONNECTIONS} sockets")
                clients.drive(WARMING_SECONDS)
                load = clients.drive(bench.settings.seconds)
                row.add("rate", load.round_trips / load.seconds)
                row.add(f"cpu@{CONNECTIONS}", load.cpu_seconds / load.round_trips * 1e6)
                row.add("p99", load.p99_ms)
                row.add("disturbed", float(load.disturbed))
        return [row for row, _ in started]


def many(bench: Bench) -> list[Row]:
    """2,000 sockets open at once, on servers that have had no more than a few.

    Each has carried one message. A second round, the last, shows what the first left
    behind.
    """
    path = wire.path(0, wire.SOCKET)
    with (
        bench.echo_upstream() as port,
        bench.serving(
            catalogue.named(*MANY), upstream_port=port, tail=wire.SOCKET
        ) as started,
    ):
        idle: dict[str, int] = {}
        for turn, row, server in turns(bench, started, at_most=2):
            with blamed(row, server):
                bench.progress(f"{turn}: {SOCKETS} sockets")
                if row.candidate not in idle:
                    with echo.Clients(server, path, 5):
                        pass
                    time.sleep(SETTLING_SECONDS)
                    idle[row.candidate] = server.rss()
                cpu = server.cpu_seconds()
                with echo.Clients(server, path, SOCKETS):
                    row.add("cpu", (server.cpu_seconds() - cpu) / SOCKETS * 1e6)
                    time.sleep(SETTLING_SECONDS)
                    growth = server.rss() - idle[row.candidate]
                first = "kib" not in row.samples
                row.add("kib" if first else "again", growth / KIB / SOCKETS)
                time.sleep(SETTLING_SECONDS)
        return [row for row, _ in started]
