"""Whose turn it is among the tests of all workers."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Beside the tests of other workers, or `alone`: once theirs have ended, and before
    their next begin. `folder` is the same for all. What a worker holds when it dies,
    the system gives back.
    """
    with open(folder / "door", "wb") as door, open(folder / "room", "wb") as room:
        # Who waits for an empty room keeps the door shut: nobody else goes in.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
