"""A store in one process's memory, and several processes: that is to be noticed."""

from __future__ import annotations

import logging
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
    line and WEB_CONCURRENCY are looked at; a WSGI server says it with each request.
    """

    def __init__(self, store: Store) -> None:
        self.unsaid = isinstance(store, MemoryStore)
        if self.unsaid and (
            several(sys.argv[1:]) or _number(os.environ.get("WEB_CONCURRENCY", ""))
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


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 1
