"""A child's stdin is a pipe from its parent, on which nothing is ever written. It
ends when the parent does, whichever way that came about."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def watch(ended: Callable[[], None]) -> None:
    """Call `ended`, in a thread, as soon as the parent is no more."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        ended()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
