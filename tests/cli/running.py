"""`session-proxy …` as a process, and the gateway that it serves."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest.mock import patch

from session_proxy_middleware import open_store
from session_proxy_middleware.cli import main
from session_proxy_middleware.stores.managed import ManagedStore

from ..support.wire import PATIENCE, Message, Wire, connect

SCRIPT = str(Path(sys.executable).with_name("session-proxy"))
SESSION = "57af5437-97a2-4646-9873-a5c5935bd705"
UPSTREAM = "http://127.0.0.1:9"
START = 60.0
"""Seconds for processes to start, on a machine that does much else."""


class Done(NamedTuple):
    """What a command has left."""

    status: int
    out: str
    err: str


class Command:
    """The command, with a store in its environment."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SESSION_PROXY_")
        }
        return {**clean, "SESSION_PROXY_STORE": self.url, **(more or {})}

    def __call__(
        self,
        *arguments: str,
        given: str | bytes | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Run it to its end."""
        done = subprocess.run(
            [SCRIPT, *arguments],
            cwd=self.folder,
            env=self.environment(environment),
            input=given.encode() if isinstance(given, str) else given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=START,
        )
        err = done.stderr.decode()
        assert "Traceback" not in err
        return Done(done.returncode, done.stdout.decode(), err)

    def ok(self, *arguments: str, **more: Any) -> str:
        """What it says when all went well."""
        done = self(*arguments, **more)
        assert done.status == 0, done
        return done.out

    def json(self, *arguments: str, **more: Any) -> list[dict[str, Any]]:
        """The lines that it says to programs."""
        lines = self.ok(*arguments, "--json", **more).splitlines()
        return [json.loads(line) for line in lines]

    def one(self, *arguments: str, **more: Any) -> dict[str, Any]:
        """The one line that it says to programs."""
        (found,) = self.json(*arguments, **more)
        return found

    def fails(self, status: int, *arguments: str, **more: Any) -> str:
        """The line in which it says what is wrong."""
        done = self(*arguments, **more)
        assert (done.status, done.out) == (status, ""), done
        assert done.err.startswith("session-proxy: ") and done.err.count("\n") == 1
        return done.err

    def store(self) -> ManagedStore:
        """The same store, in this process."""
        return open_store(self.url)


class Here(Command):
    """The command in this process: the same from `main` on, and quicker."""

    def __call__(
        self,
        *arguments: str,
        given: str | bytes | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        assert given is None
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, self.environment(environment), clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = main(arguments)
        return Done(status, out.getvalue(), err.getvalue())


class Gateway:
    """`session-proxy serve` on a free port, ended on the way out."""

    def __init__(
        self,
        command: Command,
        *options: str,
        environment: dict[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self._log = command.folder / f"serve-{time.monotonic_ns()}.log"
        self._workers = workers
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [SCRIPT, "serve", "--port", "0", "--workers", str(workers), *options],
                cwd=command.folder,
                env=command.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        try:
            self.until("Application startup complete", self._workers)
            self.until("running on http")
            found = re.search(r"running on https?://127\.0\.0\.1:(\d+)", self.log)
            assert found, self.log
        except AssertionError:
            self.stop()
            raise
        self.address = ("127.0.0.1", int(found[1]))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text("utf-8", "replace")

    def until(self, text: str, times: int = 1) -> None:
        """Wait until its log says that so often."""
        end = time.monotonic() + START
        while self.log.count(text) < times:
            alive = self.process.poll() is None
            assert alive and time.monotonic() < end, f"no {text!r} in:\n{self.log}"
            time.sleep(0.02)

    def connect(self) -> Wire:
        """A connection to it."""
        return connect(self.address)

    def ask(self, data: bytes, *, to: str = "GET") -> Message:
        """One request on a connection of its own."""
        with self.connect() as wire:
            wire.send(data)
            return wire.answer(to=to)


def cells(table: str) -> list[list[str]]:
    """A table as people see it: its lines, its cells."""
    return [re.split(r" {2,}", line) for line in table.splitlines()]


def column(table: str, heading: str) -> list[str]:
    """One column of it."""
    headings, *rows = cells(table)
    return [row[headings.index(heading)] for row in rows]


def path(session: str = SESSION, *, service: str = "bot", rest: str = "/x") -> str:
    """The public path of a session."""
    return f"/{service}/sessions/{session}{rest}"
