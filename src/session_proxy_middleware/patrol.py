"""Under WSGI: looking after sessions that another process may have ended."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from . import background
from .errors import StoreUnavailable
from .models import Session

log = logging.getLogger("session_proxy")


class Patrol:
    """While requests are under way that take their time, asks every `every` seconds
    about the sessions of those that were there the last time, and breaks off what is
    under way to one that has ended.

    A thread that lives for one round, so that where there is nothing to ask there is
    none. `transport` calls `begin` when a session takes its time.
    """

    def __init__(
        self,
        transport: Any,
        ended: Callable[[list[Session]], list[Session]],
        *,
        every: float,
    ) -> None:
        self._transport = transport
        self._ended = ended
        self._every = every
        self._due: int | None = None
        """In which process there is a thread: none outlives a fork."""
        transport.lingers = self.begin

    def begin(self) -> None:
        """There is something to look after."""
        here = os.getpid()
        if self._due == here:
            return
        self._due = here
        if not background.began(self._run):  # Later, then.
            self._due = None

    def _run(self) -> None:
        time.sleep(self._every)
        # First, so that whoever comes now finds that a thread is needed.
        self._due = None
        self.go_round()
        if self._transport.in_flight:
            self.begin()

    def go_round(self) -> None:
        """Ask once."""
        lasting = self._transport.lasting()
        if not lasting:
            return
        try:
            for session in self._ended(lasting):
                self._transport.end(session)
        except (OSError, StoreUnavailable) as error:
            # What is under way goes on: that it has ended nobody says.
            log.debug("whether sessions have ended is not known: %s", error)
        except Exception:
            log.exception("whether sessions have ended could not be asked")
