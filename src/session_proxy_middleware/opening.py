"""Whether a session takes a request now: the part of the flow after admission."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from .errors import Draining, SessionNotFound, SessionStarting, StoreUnavailable
from .models import Session


@dataclass(slots=True)
class AwaitReady:
    """Wait until a session that is starting takes requests, as long as it may be
    waited for. Answer: the `Session` as it is then, or None when it is gone."""

    session: Session


def opened(
    session: Session, *, wait: bool
) -> Generator[AwaitReady, Session | None, Session]:
    """The session, running; one that is starting is waited for where that is wanted.

    Raises:
        SessionStarting: it still is.
        Draining: it takes no new requests.
        SessionNotFound: it ended meanwhile.
    """
    if wait and session.state == "starting":
        try:
            found = yield AwaitReady(session)
        except OSError as error:
            raise StoreUnavailable(repr(error)) from error
        if found is None:
            raise SessionNotFound("ended while starting")
        session = found
    if session.state == "starting":
        raise SessionStarting(session.name)
    if session.state == "draining":
        raise Draining(session.name)
    return session
