"""Servers as processes: started on a core, read through /proc, always stopped."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 3.0
KIB: Final = 1024
_SAYS_WHY: Final = re.compile(r"^\w*(?:Error|Exception)\b.*|.*\[emerg\].*", re.M)


class ServerError(Exception):
    """A server that did not start, died, or answered wrongly; says why."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server and the processes that do its work."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        """Ids of the processes that serve: the children, where there are any."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            raise self.failed("is not running") from None
        return [int(child) for child in children] or [pid]

    def cpu_seconds(self) -> float:
        """User and system time of the workers, threads that ended included.

        The clock of clock_getcpuclockid(3) counts what /proc/<pid>/stat does
        (utime + stime), in nanoseconds instead of hundredths of a second.
        """
        try:
            return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.workers())
        except OSError:
            raise self.failed("ended while measured") from None

    def rss(self) -> int:
        """Resident memory of the workers, in bytes."""
        return self._status("VmRSS")

    def peak_rss(self) -> int:
        """The highest `rss` since `reset_peak`, in bytes."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new peak at what is resident now."""
        for pid in self.workers():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def failed(self, what: str) -> ServerError:
        """The error that says `what`, and the last error in the server's log."""
        with suppress(OSError):
            said = _SAYS_WHY.findall(self.log.read_text(errors="replace"))
            if said and said[-1][:200] not in what:
                what = f"{what}: {said[-1][:200]}"
        return ServerError(what)

    def wait(self, *, address: str, seconds: float) -> None:
        """Return once something listens on the port of `address`.

        Raises:
            ServerError: it ended, or did not listen within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.failed("did not start")
            with suppress(OSError), socket.create_connection((address, self.port), 1):
                return
            time.sleep(0.05)
        raise self.failed(f"did not listen within {seconds:.0f} s")

    def stop(self) -> None:
        """End the process and its workers, politely first."""
        pids: list[int] = []
        with suppress(ServerError):
            pids = self.workers()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            for pid in pids:
                with suppress(OSError):
                    os.kill(pid, 9)

    def _status(self, field: str) -> int:
        total = 0
        for pid in self.workers():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                raise self.failed("ended while measured") from None
            line = next(line for line in status.split("\n") if line.startswith(field))
            total += int(line.split()[1]) * KIB
        return total


def start(
    *,
    name: str,
    command: Sequence[str],
    port: int,
    core: int,
    folder: Path,
    environment: Mapping[str, str],
) -> Server:
    """Start a server on one core, its output in a log inside `folder`."""
    taskset = shutil.which("taskset")
    if taskset is None:
        raise ServerError("taskset is missing (Debian's package util-linux)")
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [taskset, "-c", str(core), *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches load.py alone, which stops all
        )
    return Server(name=name, port=port, process=process, log=log)


def free_port() -> int:
    """A port free on every loopback address at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
