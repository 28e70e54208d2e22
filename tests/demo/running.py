"""`session-proxy demo` in a process of its own, and what it has started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

COMMAND = [sys.executable, "-m", "session_proxy_middleware", "demo"]
READY = "Ctrl-C ends everything."
PATIENCE = 30.0


class Demo:
    """A running demo; ended on the way out, whatever the test did."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = folder / "output"
        with self._log.open("wb") as log, _interruptible():
            self.process = subprocess.Popen(
                [*COMMAND, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # One that is killed leaves its store behind.
                env={**os.environ, "TMPDIR": str(folder), **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text("utf-8")

    def until(self, text: str) -> str:
        """The output, once a whole line of it holds `text`."""
        line = re.compile(rf"{re.escape(text)}.*\n")
        end = time.monotonic() + PATIENCE
        while not line.search(self.output):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"no {text!r} in:\n{self.output}")
            time.sleep(0.01)
        return self.output

    def pid(self, name: str) -> int:
        """The process of `bot-1`, `bot-2` or `portal`, as printed."""
        found = re.search(rf"^  {name} .* process (\d+) ", self.output, re.M)
        assert found, self.output
        return int(found[1])


@contextmanager
def _interruptible() -> Iterator[None]:
    """Children started here heed SIGINT, also where a shell has begun all this in
    the background, and so with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def descendants(pid: int) -> set[int]:
    """The ids of the process's children, and of theirs."""
    children: dict[int, list[int]] = {}
    for line in _ps("-eo", "pid=,ppid=").splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


def left(pids: set[int], *, within: float = 5.0) -> set[int]:
    """Those that still run, after a while. One that has ended and that nobody has
    asked about (`Z`) runs no more."""
    end = time.monotonic() + within
    while True:
        states = [line.split() for line in _ps("-eo", "pid=,stat=").splitlines()]
        running = {int(pid) for pid, state in states if not state.startswith("Z")}
        if not pids & running or time.monotonic() > end:
            return pids & running
        time.sleep(0.05)


def _ps(*options: str) -> str:
    return subprocess.run(["ps", *options], capture_output=True, text=True).stdout
