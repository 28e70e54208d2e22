"""Operations on sessions."""

from __future__ import annotations

from typing import Any, get_args
from urllib.parse import quote

from ..errors import SessionNotFound
from ..models import SESSION_TTL, Session, State
from ..rules.route import canonical
from .errors import Conflict
from .members import AFTER, LIMIT, LISTED, Parameter, number, text
from .operation import Asked, Call, Operation, Outcome, Performed

STATES: tuple[State, ...] = get_args(State)

_TTL = "Seconds that it lives on from each touch."
_BEGINNING = "`starting`: held back until it is ready."

MEMBERS = {
    "upstream": text(
        "Where it listens: `http://`, `https://` or `unix:///path`, with an optional "
        "base path.",
        required=True,
        examples=["http://10.0.3.7:8080"],
    ),
    "state": text(_BEGINNING, enum=["running", "starting"], default="running"),
    "ttl": number(_TTL, exclusiveMinimum=0, default=SESSION_TTL),
}
TOUCHED = {"ttl": number(f"{_TTL} Left out: as before.", exclusiveMinimum=0)}


def _state(text: str) -> str:
    if text not in STATES:
        raise ValueError
    return text


STATE = Parameter(
    schema={"type": "string", "enum": list(STATES)},
    description="Only those in this state.",
    read=_state,
    allowed=f"one of {', '.join(STATES)}",
)


def shown(session: Session) -> dict[str, Any]:
    """A session as it is answered. Times are seconds since the epoch."""
    return {
        "service": session.service,
        "id": session.id,
        "upstream": session.upstream,
        "state": session.state,
        "ttl": session.ttl,
        "registered_at": session.registered_at,
        "expires_at": session.expires_at,
        "active_at": session.active_at,
    }


def _list(asked: Asked) -> Performed:
    limit = asked.query.get("limit", LISTED)
    options = {**asked.query, "service": asked.names.get("service")}
    # One more than is shown tells whether there are more.
    found: list[Session]
    found = yield Call("sessions", "list", (), {**options, "limit": limit + 1})
    return Outcome(
        200,
        {
            "sessions": [shown(each) for each in found[:limit]],
            "next": found[limit - 1].name if len(found) > limit else None,
        },
    )


def _create(asked: Asked) -> Performed:
    outcome = yield from _register(asked, asked.names["service"], asked.fresh_id)
    return outcome


def _put(asked: Asked) -> Performed:
    service, id = _name(asked)
    before = yield Call("sessions", "lookup", (service, id))
    outcome = yield from _register(asked, service, id)
    if before is not None:
        outcome.status = 200
    return outcome


def _register(asked: Asked, service: str, id: str) -> Performed:
    session: Session
    session = yield Call("sessions", "register", (service, id), asked.members)
    values = shown(session)
    return Outcome(
        201,
        values,
        path=f"/services/{quote(service, safe='')}/sessions/{quote(id, safe='')}",
        names={"session_id": session.id},
        values=values,
    )


def _show(asked: Asked) -> Performed:
    session = yield from _find(asked)
    return Outcome(200, shown(session))


def _touch(asked: Asked) -> Performed:
    return _change(asked, "touch", "touched", already=None)


def _ready(asked: Asked) -> Performed:
    return _change(asked, "ready", "made ready", already="running")


def _drain(asked: Asked) -> Performed:
    return _change(asked, "drain", "drained", already="draining")


def _end(asked: Asked) -> Performed:
    return _change(asked, "end", "ended", already="ended")


def _change(asked: Asked, method: str, what: str, *, already: str | None) -> Performed:
    """Change a session's life. One that is `already` so is answered like one that has
    become so: whoever asks twice, because an answer got lost, need not tell them
    apart."""
    changed = yield Call("sessions", method, _name(asked), asked.members)
    session = yield from _find(asked)
    if not changed and session.state != already:
        raise Conflict(f"the session is {session.state} and cannot be {what}")
    values = {"state": session.state, "ttl": session.ttl} if changed else {}
    return Outcome(200, shown(session), values=values)


def _find(asked: Asked) -> Any:
    name = _name(asked)
    session = yield Call("sessions", "find", name)
    if session is None:
        raise SessionNotFound("/".join(name))
    return session


def _name(asked: Asked) -> tuple[str, str]:
    return asked.names["service"], canonical(asked.names["session_id"])


_ALL = "/services/{service}/sessions"
_ONE = _ALL + "/{session_id}"
_PAGES = {"state": STATE, "after": AFTER, "limit": LIMIT}
_PAGE = {200: ("A page of sessions.", "Sessions")}
_CHANGED = {200: ("The session as it is now.", "Session")}

OPERATIONS = (
    Operation(
        id="listSessions",
        action="session.list",
        method="GET",
        path="/sessions",
        summary="The sessions of all services, those that ended within the last hour "
        "among them.",
        perform=_list,
        query=_PAGES,
        answers=_PAGE,
    ),
    Operation(
        id="listSessionsOfService",
        action="session.list",
        method="GET",
        path=_ALL,
        summary="The sessions of one service.",
        perform=_list,
        query=_PAGES,
        answers=_PAGE,
    ),
    Operation(
        id="createSession",
        action="session.register",
        method="POST",
        path=_ALL,
        summary="Register a session under a new id. An unknown service is created.",
        perform=_create,
        members=MEMBERS,
        answers={201: ("The session; Location is where it is shown.", "Session")},
    ),
    Operation(
        id="putSession",
        action="session.register",
        method="PUT",
        path=_ONE,
        summary="Register a session under this id; one that has it is replaced, and no "
        "connection of it used again. Ids are UUIDs unless the proxy's "
        "session_id_pattern says otherwise.",
        perform=_put,
        members=MEMBERS,
        answers={
            200: ("The session, in the place of another.", "Session"),
            201: ("The session, new.", "Session"),
        },
    ),
    Operation(
        id="getSession",
        action="session.show",
        method="GET",
        path=_ONE,
        summary="A session, also for an hour after it has ended.",
        perform=_show,
        answers={200: ("The session.", "Session")},
        refusals=(404,),
    ),
    Operation(
        id="touchSession",
        action="session.touch",
        method="POST",
        path=_ONE + "/touch",
        summary="Its time to live begins anew.",
        perform=_touch,
        members=TOUCHED,
        answers=_CHANGED,
        refusals=(404, 409),
    ),
    Operation(
        id="readySession",
        action="session.ready",
        method="POST",
        path=_ONE + "/ready",
        summary="From starting to running.",
        perform=_ready,
        members={},
        answers=_CHANGED,
        refusals=(404, 409),
    ),
    Operation(
        id="drainSession",
        action="session.drain",
        method="POST",
        path=_ONE + "/drain",
        summary="Let its requests finish and refuse new ones.",
        perform=_drain,
        members={},
        answers=_CHANGED,
        refusals=(404, 409),
    ),
    Operation(
        id="endSession",
        action="session.end",
        method="DELETE",
        path=_ONE,
        summary="It has ended: 404 from now on.",
        perform=_end,
        answers=_CHANGED,
        refusals=(404,),
    ),
)
