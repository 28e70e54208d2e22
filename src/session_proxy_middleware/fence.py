"""The fence: what was sent to the wrong place has reached nobody, and goes where the
session is by now. The part of the flow after the first attempt to deliver."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import (
    Misdirected,
    ProxyError,
    SessionMoved,
    SessionNotFound,
    StoreUnavailable,
)
from .guard import REFUSED
from .models import Field, Session
from .rules.body import BodyMeter


@dataclass(slots=True)
class FindAgain:
    """Ask the registry itself: the last answer to `FindSession` may be out of date.
    Answer: a `Session` or None."""

    service: str
    id: str


@dataclass(slots=True)
class Disown:
    """Another session is at the address of this one: drop its answer, and whatever
    connections are kept to there. Answer: None."""

    session: Session
    response: Any
    """None where it is closed already."""


class Head(Protocol):
    """What is asked of a response here, async or not."""

    status: int

    @property
    def headers(self) -> Sequence[Field]: ...


def refused(response: Head, session: Session) -> bool:
    """Whether a 421 is a guard's word about this session, and not the session's own."""
    return (REFUSED, session.id_bytes) in response.headers


def check_guard(
    head: Head, session: Session, response: Any
) -> Generator[Disown, None, None]:
    """Let a session's own 421 pass. `response` is what is to be closed, or None.

    Raises:
        Misdirected: it is a guard's.
    """
    if refused(head, session):
        yield Disown(session, response)
        raise Misdirected(f"another session is at {session.upstream}")


def find_again(
    session: Session, failure: ProxyError, meter: BodyMeter | None
) -> Generator[FindAgain, Session | None, Session]:
    """Where the session is now, if it has moved since it was looked up.

    Raises:
        SessionNotFound: it has ended meanwhile.
        ProxyError: it has not moved: the failure, as it was.
        StoreUnavailable: another session is there, and nobody can say where this is.
        SessionMoved: it has, and the body of the request can't be sent once more.
    """
    try:
        fresh = yield FindAgain(session.service, session.id)
    except (OSError, StoreUnavailable) as outage:
        if not isinstance(failure, Misdirected):
            raise failure from None
        if isinstance(outage, StoreUnavailable):
            raise
        raise StoreUnavailable(repr(outage)) from outage
    if fresh is None:
        raise SessionNotFound("ended while connecting") from failure
    if fresh.pool_key == session.pool_key:
        raise failure
    if meter is not None and (meter.begun or isinstance(failure, Misdirected)):
        # Where it was asked for a first piece, that may be on its way by now, and be
        # lost with whoever waited for it (under granian).
        raise SessionMoved(session.name) from failure
    return fresh
