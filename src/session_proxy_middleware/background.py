"""Threads that come and go while there is something to do."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

log = logging.getLogger("session_proxy")


def began(run: Callable[[], None]) -> bool:
    """Run it in a thread that no process waits for. False where none can begin: there
    may be no more of them, or the interpreter is at its end."""
    # There `start` would wait for ever, and a request that was under way may ask.
    if sys.is_finalizing():
        return False
    thread = threading.Thread(target=run, name="session-proxy", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        log.debug("no thread could begin: %s", error)
        return False
    return True
