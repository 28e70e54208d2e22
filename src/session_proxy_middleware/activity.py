"""When bytes last flowed to a session, and a key was last used: noted in passing,
written seldom."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any
from weakref import WeakSet

from . import background
from .errors import StoreUnavailable
from .interfaces import Store
from .models import Session

EVERY = 10.0
"""Seconds. What is written is right to within so many, and each session or key costs
one write in that time, however busy it is."""

log = logging.getLogger("session_proxy")


class Activity:
    """A note is an assignment or two. A thread that lives as long as there is something
    to write writes them together; `due` says that there is one.
    """

    def __init__(self, store: Store, *, keys: bool, every: float = EVERY) -> None:
        self._note_sessions: Any = getattr(store.sessions, "note", None)
        self._note_keys: Any = getattr(store.keys, "note", None) if keys else None
        self._every = every
        self._lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        self.keys: dict[str, bool] = {}
        self.due = False
        _ALL.add(self)

    @property
    def wanted(self) -> bool:
        """Whether the store keeps any of it."""
        return self._note_sessions is not None or self._note_keys is not None

    def note(self, session: Session, key: str | None = None) -> None:
        """Bytes have flowed: the session is in use, and so is the key."""
        self.sessions[session.name] = session
        if key is not None:
            self.keys[key] = True
        if not self.due:
            self.begin()

    def begin(self) -> None:
        """Write what is noted from now on, once it is time."""
        with self._lock:
            if self.due:
                return
            self.due = True
        if not background.began(self._run):  # Later, then.
            self.due = False

    def flush(self) -> None:
        """Write what has been noted. What can't be written is lost, which does no
        harm: it is noted again as long as it goes on."""
        sessions, self.sessions = self.sessions, {}
        keys, self.keys = self.keys, {}
        now = time.time()
        try:
            if sessions and self._note_sessions is not None:
                found = list(sessions.values())
                self._note_sessions({(each.service, each.id): now for each in found})
            if keys and self._note_keys is not None:
                self._note_keys(dict.fromkeys(list(keys), now))
        except (OSError, StoreUnavailable) as error:
            log.debug("last activity could not be written: %s", error)
        except Exception:
            log.exception("last activity could not be written")

    def forked(self) -> None:
        """This is a child process: the thread stayed in its parent."""
        self._lock = threading.Lock()
        self.due = False

    def _run(self) -> None:
        time.sleep(self._every)
        # First, so that a note from now on finds that a thread is needed.
        self.due = False
        self.flush()


_ALL: WeakSet[Activity] = WeakSet()


def _after_fork() -> None:
    for activity in list(_ALL):
        activity.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
