"""What a run prints and writes: the machine, a table a scenario, the verdicts."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from . import catalogue
from .bench import Row, Settings
from .scenarios import CONNECTIONS, HEADLINE
from .targets import Outcomes, Verdict, ratio

Column = tuple[str, str, str]

_LOADS: Final[tuple[Column, ...]] = (
    *((f"req/s {count}c", f"rps@{count}", ",.0f") for count in CONNECTIONS),
    *((f"CPU us {count}c", f"cpu@{count}", ",.1f") for count in CONNECTIONS),
    (f"p99 ms {HEADLINE}c", f"p99@{HEADLINE}", ",.1f"),
)
_POSTS: Final = tuple(one for one in _LOADS if f" {HEADLINE}c" in one[0])
_TRANSFERS: Final[tuple[Column, ...]] = (
    ("MB/s", "mbps", ",.0f"),
    ("CPU s/GiB", "cpu", ",.2f"),
    ("peak RSS +MiB", "growth", ",.1f"),
)
_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "asgi-get": _LOADS,
    "asgi-post": _POSTS,
    "wsgi-get": _LOADS,
    "wsgi-post": _POSTS,
    "sessions": (
        ("CPU us one", "cpu@one", ",.1f"),
        ("CPU us 2000", "cpu@many", ",.1f"),
        ("ratio", "ratio", ",.2f"),
        ("req/s one", "rps@one", ",.0f"),
        ("req/s 2000", "rps@many", ",.0f"),
    ),
    "bulkhead": (
        ("p99 ms alone", "p99@alone", ",.2f"),
        ("p99 ms beside", "p99@beside", ",.2f"),
        ("ratio", "ratio", ",.2f"),
        ("req/s alone", "rps@alone", ",.0f"),
        ("req/s beside", "rps@beside", ",.0f"),
    ),
    "download": _TRANSFERS,
    "upload": _TRANSFERS,
    "events": (
        ("events/s", "rate", ",.0f"),
        ("CPU us/event", "cpu", ",.1f"),
        ("KiB/stream", "kib", ",.1f"),
        ("the 2nd time", "again", ",.1f"),
    ),
    "websocket": (
        ("round trips/s", "rate", ",.0f"),
        ("CPU us", f"cpu@{HEADLINE}", ",.1f"),
        ("p99 ms", "p99", ",.2f"),
    ),
    "sockets": (
        ("KiB/socket", "kib", ",.1f"),
        ("the 2nd time", "again", ",.1f"),
        ("CPU us to open", "cpu", ",.0f"),
    ),
}
#: Shown by the highest of their rounds; all else by the median.
_HIGHEST: Final = frozenset({"growth"})
_BARE: Final = {
    "asgi": "bare-uvicorn",
    "wsgi": "bare-gunicorn",
    "websocket": "bare-uvicorn",
}


def machine(settings: Settings) -> Iterator[str]:
    """Where and with what this was measured."""
    yield (
        f"{os.cpu_count()} CPUs ({_processor()}), {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )
    yield (
        f"server on core {settings.server_core}, wrk and upstream on core "
        f"{settings.load_core}; loop {settings.loop}; {settings.rounds} rounds of "
        f"{settings.seconds} s"
    )
    packages = dict.fromkeys(one.package for one in catalogue.CANDIDATES if one.package)
    named = sorted({*packages, *catalogue.UNDERNEATH})
    found = ((name, catalogue.version(name)) for name in named)
    yield ", ".join(f"{name} {known}" for name, known in found if known)
    yield ", ".join([_nginx_version(), _wrk_version()])


def table(scenario: str, rows: Sequence[Row]) -> Iterator[str]:
    """One scenario: a line a candidate, then what failed and what was noted."""
    if not rows:
        yield "none of the candidates asked for takes part"
        return
    columns = _COLUMNS[scenario]
    bare = _BARE.get(scenario.partition("-")[0])
    heads = ["", *(head for head, _, _ in columns), *(["x bare"] if bare else [])]
    lines = [heads]
    for row in rows:
        cells = [_cell(row, metric, form) for _, metric, form in columns]
        if bare:
            times = ratio(rows, f"cpu@{HEADLINE}", row.candidate, bare)
            cells.append("-" if times is None else f"{times:.2f}")
        lines.append([row.candidate, *cells])
    yield from _aligned(lines)
    loads = [load for row in rows for load in row.samples.get("disturbed", ())]
    if any(loads):
        yield (
            f"  ~ in {sum(loads):.0f} of {len(loads)} loads other processes took "
            "over a tenth of the server's core"
        )
    for row in rows:
        if row.failure:
            yield f"  ! {row.candidate} failed: {row.failure}"
        for text, count in row.notes.items():
            yield f"  ~ {row.candidate} {text}{f' (x{count})' if count > 1 else ''}"


def judged(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """The verdicts as a table."""
    lines = [["", "measured", "target", ""]]
    for verdict in verdicts:
        measured = "-" if verdict.measured is None else f"{verdict.measured:.2f}"
        outcome = f"{verdict.word} {verdict.more}".rstrip()
        lines.append([verdict.claim, measured, verdict.target, outcome])
    for line in _aligned(lines, left=(0, 3)):
        yield line.rstrip()


def write(
    file: Path, *, settings: Settings, outcomes: Outcomes, verdicts: Sequence[Verdict]
) -> None:
    """Every sample of every round, and the verdicts, as JSON."""
    document = {
        "machine": list(machine(settings)),
        "scenarios": {
            scenario: {
                row.candidate: {
                    "samples": row.samples,
                    "failure": row.failure,
                    "notes": row.notes,
                }
                for row in rows
            }
            for scenario, rows in outcomes.items()
        },
        "verdicts": [
            {
                "claim": verdict.claim,
                "measured": verdict.measured,
                "target": verdict.target,
                "verdict": verdict.word,
            }
            for verdict in verdicts
        ],
    }
    file.write_text(json.dumps(document, indent=2) + "\n")


def _cell(row: Row, metric: str, form: str) -> str:
    samples = row.samples.get(metric)
    if not samples:
        return "-"
    return format(max(samples) if metric in _HIGHEST else median(samples), form)


def _aligned(
    lines: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)
) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        yield "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(cells)
        )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _nginx_version() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return _first_words([found, "-v"], 3).removeprefix("nginx version: ")


def _wrk_version() -> str:
    return _first_words([shutil.which("wrk"), "-v"], 2)


def _first_words(command: list[str | None], count: int) -> str:
    if command[0] is None:
        return "not installed"
    run = subprocess.run(
        [part for part in command if part], capture_output=True, text=True, check=False
    )
    return " ".join((run.stderr + run.stdout).split()[:count])
