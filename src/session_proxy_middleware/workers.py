"""A store in one process's memory, and several processes: that is to be noticed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .interfaces import Store
from .stores.memory import MemoryStore

log = logging.getLogger("session_proxy")

_COUNT = re.compile(r"(?:--workers|-w)(?:=| ?)(\d+)")


class Lonely:
    """Says once, for a `MemoryStore`, that other workers have others.

    No server tells an ASGI application how many workers there are, so its command
    line, WEB_CONCURRENCY and what started this process are looked at; a WSGI server
    says it with each request.
    """

    def __init__(self, store: Store) -> None:
        self.unsaid = isinstance(store, MemoryStore)
        if self.unsaid and (
            several(sys.argv[1:])
            or _number(os.environ.get("WEB_CONCURRENCY", ""))
            or one_of_several(multiprocessing.current_process())
        ):
            self._say()

    def look(self, environ: Mapping[str, Any]) -> None:
        """At the first request under WSGI (PEP 3333: `wsgi.multiprocess`)."""
        self.unsaid = False
        if environ.get("wsgi.multiprocess"):
            self._say()

    def _say(self) -> None:
        self.unsaid = False
        log.warning(
            "MemoryStore is one process's memory, and this server runs several: each "
            "worker knows other sessions and keys. Use sqlite:///path.db or redis://"
        )


def several(arguments: Sequence[str]) -> bool:
    """Whether a server's command line asks for more than one worker: `--workers 4`,
    `--workers=4`, `-w 4`, `-w4`."""
    found = _COUNT.findall(" ".join(arguments))
    return bool(found) and _number(found[-1])


def one_of_several(process: Any) -> bool:
    """Whether a server has started this process beside others: `uvicorn.run(workers=2)`
    and hypercorn hand each its configuration."""
    config = getattr(process, "_kwargs", {}).get("config")
    workers = getattr(config, "workers", 1)
    reloads = getattr(config, "reload", False)  # uvicorn then starts one.
    return isinstance(workers, int) and workers > 1 and not reloads


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 1
