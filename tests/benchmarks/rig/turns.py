"""Who is measured next, and whose fault it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .bench import Bench, Row
from .processes import Server, ServerError

Started = list[tuple[Row, Server | None]]


def turns(
    bench: Bench, started: Started, *, at_most: int | None = None
) -> Iterator[tuple[str, Row, Server]]:
    """Every candidate that still stands, in turn, as often as there are rounds."""
    rounds = min(bench.settings.rounds, at_most or bench.settings.rounds)
    for number in range(rounds):
        for row, server in started:
            if server is not None and not row.failure:
                yield f"round {number + 1}/{rounds}, {row.candidate}", row, server


@contextmanager
def blamed(row: Row, server: Server) -> Iterator[None]:
    """What goes wrong with one candidate ends that candidate's part alone."""
    try:
        yield
    except (OSError, ServerError) as error:
        row.failure = str(server.failed(str(error)))
