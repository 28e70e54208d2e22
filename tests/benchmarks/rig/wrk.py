"""wrk: one bounded load on one server, and what it did to the server's CPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..servers import wire
from .processes import Server, ServerError

#: Of the server's core, what everything but the server may take.
OTHERS_AT_MOST: Final = 0.1
SCRIPT: Final = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk saw of one load, and what the server spent on it."""

    requests: int
    seconds: float
    cpu_seconds: float
    p99_ms: float
    faults: str
    disturbed: bool

    @property
    def rate(self) -> float:
        """Completed requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU time of the server a completed request.

        There must be one.
        """
        return self.cpu_seconds / self.requests * 1e6


def executable() -> str:
    """Where wrk is.

    Raises:
        ServerError: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise ServerError("wrk is not installed: it is Debian's package `wrk`")
    return found


def drive(
    server: Server,
    *,
    paths: Sequence[str],
    connections: int,
    seconds: int,
    body_bytes: int = 0,
) -> Load:
    """Request `paths` in turn on so many connections for so many seconds.

    Raises:
        ServerError: the server ended, or wrk did not run.
    """
    listed = server.log.with_name("paths")
    listed.write_text("\n".join(paths))
    command = [executable(), "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "-s", str(SCRIPT)]
    for name, value in wire.HEADERS:
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{server.port}/")
    environment = {
        "BENCHMARK_PATHS": str(listed),
        "BENCHMARK_BODY_BYTES": str(body_bytes),
    }
    core = min(os.sched_getaffinity(server.process.pid))
    busy, started = busy_seconds(core), time.monotonic()
    before = server.cpu_seconds()
    finished = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=seconds + 30,
        check=False,
    )
    spent = server.cpu_seconds() - before
    others = busy_seconds(core) - busy - spent
    disturbed = others > OTHERS_AT_MOST * (time.monotonic() - started)
    return _outcome(finished, spent, disturbed)


def busy_seconds(core: int) -> float:
    """Seconds that core was not idle, those stolen by a hypervisor included."""
    for line in Path("/proc/stat").read_text().split("\n"):
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, *rest = map(int, ticks[:8])
            return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
    raise ServerError(f"/proc/stat has no core {core}")


def _outcome(
    finished: subprocess.CompletedProcess[bytes], cpu_seconds: float, disturbed: bool
) -> Load:
    marker = b"\noutcome "
    _, found, rest = finished.stdout.partition(marker)
    if not found:
        output = (finished.stderr or finished.stdout).decode(errors="replace")
        raise ServerError(f"wrk failed: {output.strip()[:200]}")
    seen = json.loads(rest)
    kinds = ("status", "connect", "read", "write", "timeout")
    return Load(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        cpu_seconds=cpu_seconds,
        p99_ms=seen["p99"] / 1e3,
        faults=", ".join(f"{seen[kind]} {kind}" for kind in kinds if seen[kind]),
        disturbed=disturbed,
    )
