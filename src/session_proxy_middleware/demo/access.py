"""The records of proxy and admin API, a short line each, on the terminal."""

from __future__ import annotations

import logging
import time

from .settings import SERVICE, Settings


def show(settings: Settings) -> None:
    """From now on every request through the proxy is a line on stderr."""
    names = {(SERVICE, bot.id): bot.name for bot in settings.bots}
    _show("session_proxy.access", Line(names))


def show_changes() -> None:
    """From now on every change through the admin API is a line on stderr."""
    line = logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S")
    _show("session_proxy.admin", line)


def _show(logger: str, line: logging.Formatter) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(line)
    log = logging.getLogger(logger)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class Line(logging.Formatter):
    """`12:00:01  201  bot-1       1.9 ms      33 B  POST bot-1/speak`.

    A session is shown by its name, and how a request ended where that is not the
    ordinary end.
    """

    def __init__(self, names: dict[tuple[str, str], str]) -> None:
        super().__init__()
        self._names = names

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        values = vars(record)
        name = self._names.get((values["service"], values["session_id"]))
        answered_by = values["answered_by"]
        if answered_by == "session" and name is not None:
            answered_by = name
        took = values["total_ms"]
        where = name or f"{values['service']}/{values['session_id'] or '?'}"
        line = (
            f"{time.strftime('%H:%M:%S', time.localtime(record.created))}"
            f"  {values['status']}  {answered_by:<6}"
            f" {'' if took is None else f'{took:.1f} ms':>10}"
            f" {values['bytes_sent']:>8} B"
            # repr: neither a line break nor a terminal's control gets through.
            f"  {values['method']} {repr(where + values['path'])[1:-1]}"
        )
        if values["end_reason"] != "completed":
            line += f"  ({values['end_reason']})"
        return line
