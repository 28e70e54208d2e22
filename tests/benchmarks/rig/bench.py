"""One run: its settings, its temporary folder, and every process it started."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from ..servers import wire
from . import catalogue, echo, nginx, transfer
from .catalogue import Candidate
from .processes import Server, ServerError, free_port, start

#: Where the package `tests` is found.
ROOT: Final = Path(__file__).resolve().parents[3]
START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line decides."""

    seconds: int = 2
    rounds: int = 3
    only: frozenset[str] = frozenset()
    quick: bool = False
    loop: str = "asyncio"
    server_core: int = 0
    load_core: int = 1


@dataclass(slots=True)
class Row:
    """One candidate in one scenario: its samples by metric, one a round."""

    candidate: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    def add(self, metric: str, value: float) -> None:
        self.samples.setdefault(metric, []).append(value)

    def note(self, text: str) -> None:
        """Remember what went less than well; said twice, it is counted."""
        self.notes[text] = self.notes.get(text, 0) + 1


class Bench:
    """Starts servers and upstreams; leaving it stops all of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The candidates that take part from here on; all where empty.
        self.only = settings.only
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, {self.settings.load_core})
        self._stack = ExitStack()
        prefix = "session-proxy-benchmark-"
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix))
        self._folder = Path(name)
        self._numbered = 0
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def progress(self, text: str) -> None:
        """One line to stderr, with the seconds since the start."""
        elapsed = time.monotonic() - self._started
        print(f"[{elapsed:4.0f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def json_upstream(self, *, addresses: int = 1) -> Iterator[int]:
        """nginx with the small JSON and the blob; gives its port."""
        port, folder = free_port(), self._new_folder()
        config = nginx.upstream(folder=folder, port=port, addresses=addresses)
        command = catalogue.nginx_command(config)
        with self._upstream("nginx upstream", command, port, folder):
            yield port

    @contextmanager
    def sink_upstream(self) -> Iterator[int]:
        """The sink for uploads and source of events; gives its port."""
        with self._python_upstream("upstream") as port:
            yield port

    @contextmanager
    def echo_upstream(self) -> Iterator[int]:
        """The other end of WebSockets; gives its port."""
        with self._python_upstream("echo") as port:
            yield port

    @contextmanager
    def serving(
        self,
        candidates: Sequence[Candidate],
        *,
        upstream_port: int,
        tail: str,
        sessions: int = 1,
    ) -> Iterator[list[tuple[Row, Server | None]]]:
        """Every candidate asked for, started, answering, checked once on `tail`.

        One that does not start or answers wrongly comes without a server and
        with the reason in its row.
        """
        only = self.only
        wanted = [one for one in candidates if not only or one.name in only]
        started: list[tuple[Row, Server | None]] = []
        with ExitStack() as stack:
            for candidate in wanted:
                self.progress(f"starting {candidate.name}")
                row = Row(candidate.name)
                try:
                    server = self._start(candidate, upstream_port, sessions)
                except ServerError as error:
                    row.failure = str(error)
                    started.append((row, None))
                    continue
                stack.callback(server.stop)
                started.append((row, server))
            yield [(row, _checked(row, server, tail)) for row, server in started]

    def _start(self, candidate: Candidate, upstream_port: int, sessions: int) -> Server:
        port, folder = free_port(), self._new_folder()
        command = catalogue.command(
            candidate,
            port=port,
            upstream_port=upstream_port,
            loop=self.settings.loop,
            folder=folder,
        )
        return start(
            name=candidate.name,
            command=command,
            port=port,
            core=self.settings.server_core,
            folder=folder,
            environment={
                "PYTHONPATH": str(ROOT),
                "BENCHMARK_UPSTREAM_PORT": str(upstream_port),
                "BENCHMARK_SESSIONS": str(sessions),
            },
        )

    @contextmanager
    def _python_upstream(self, module: str) -> Iterator[int]:
        port, folder = free_port(), self._new_folder()
        name = f"{wire.__name__.rpartition('.')[0]}.{module}"
        command = [sys.executable, "-m", name, wire.host(0), str(port)]
        with self._upstream(f"{module} upstream", command, port, folder):
            yield port

    @contextmanager
    def _upstream(
        self, name: str, command: Sequence[str], port: int, folder: Path
    ) -> Iterator[None]:
        server = start(
            name=name,
            command=command,
            port=port,
            core=self.settings.load_core,
            folder=folder,
            environment={"PYTHONPATH": str(ROOT)},
        )
        try:
            server.wait(address=wire.host(0), seconds=START_SECONDS)
            yield
        finally:
            server.stop()

    def _new_folder(self) -> Path:
        self._numbered += 1
        folder = self._folder / str(self._numbered)
        folder.mkdir()
        return folder


def _checked(row: Row, server: Server | None, tail: str) -> Server | None:
    """The server, if it answers `tail` as it should; the reason goes to the row."""
    if server is None:
        return None
    path = wire.path(0, tail)
    try:
        server.wait(address="127.0.0.1", seconds=START_SECONDS)
        if tail == wire.SOCKET:
            with echo.Clients(server, path, 1):
                return server
        if tail == wire.UPLOAD:
            probe = bytes(3000)
            body, expected = transfer.fetch(server, path=path, body=probe), b"3000"
        else:
            body = transfer.fetch(server, path=wire.path(0, wire.CHAT))
            expected = wire.BODY
        if expected not in body:
            raise ServerError(f"answered wrongly: {body[:80]!r}")
    except (OSError, ServerError) as error:
        row.failure = str(server.failed(str(error)))
        return None
    return server
