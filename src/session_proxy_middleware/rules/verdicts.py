"""What became of each field of a request, and by which rule: for people who ask.

Nothing is decided here. Which fields went on is read off what is sent; the reasons are
those of the actions that `rules.headers` took.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from ..models import Field, Headers, Outbound, Request
from . import headers
from .forwarding import HeaderPolicy

_HOP = "belongs to this hop (RFC 9110 §7.6.1)"
_FRAMING = "frames the body on this hop; the next has its own (RFC 9112 §6)"
_KEPT = "end-to-end"
_REASONS = {
    headers.KEEP: _KEPT,
    headers.VIA: f"{_KEPT}; the proxy's own follows",
    headers.CONNECTION: _HOP,
    headers.UPGRADE: _HOP,
    headers.HOP: _HOP,
    headers.LENGTH: _FRAMING,
    headers.ENCODING: _FRAMING,
    headers.EXPECT: "is settled on this hop (RFC 9110 §10.1.1)",
    headers.AUTHORIZATION: "is the caller's credential, for the proxy alone",
    headers.HOST: "names this proxy; the session gets its own authority",
    headers.PLATFORM: "only the platform may say it",
    headers.ALIAS: "with '-' for '_' it is not the client's to say",
    headers.COOKIE: "cookies='isolate': a session gets none but its own",
    headers.NO_COOKIE: "cookies='drop'",
}
_ADDED = {
    b"host": "the session's authority, as it was registered",
    b"via": "through whom it came (RFC 9110 §7.6.3)",
    b"x-request-id": "a new id: the client sent none that is fit",
    b"cookie": "cookies='isolate': the session's own, by the names it gave them",
}
_FORWARDED = {
    "set": "forwarded='set': the client's own word is not believed",
    "append": "forwarded='append': goes on in what is added",
    "off": "forwarded='off'",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One field, what became of it and why."""

    what: Literal["kept", "dropped", "added"]
    field: Field = field(repr=False)
    why: str


def verdicts(
    request: Request, outbound: Outbound, policy: HeaderPolicy
) -> list[Verdict]:
    """All fields that came, in their order, and then those that were added. The body's
    framing is not among these: it is the connection's."""
    fields = policy.rules.sift(request)
    # Fields go on or not by their names alone, so equal ones share their fate.
    went_on = deque(fields.kept)
    sent = list(outbound.headers)
    told: list[Verdict] = []
    for each in request.headers:
        action = policy.rules.action(each[0])
        if went_on and each == went_on[0]:
            sent.remove(went_on.popleft())
            told.append(Verdict("kept", each, _REASONS[action]))
        elif action == headers.ID:
            told.append(_request_id(each, sent))
        elif each[0].lower() in fields.named:
            told.append(Verdict("dropped", each, f"Connection names it: {_HOP}"))
        elif action == headers.FORWARDED:
            told.append(Verdict("dropped", each, _FORWARDED[policy.forwarded]))
        else:
            told.append(Verdict("dropped", each, _REASONS[action]))
    return told + [Verdict("added", each, _added(each[0], policy)) for each in sent]


def _request_id(received: Field, sent: Headers) -> Verdict:
    if received in sent:
        sent.remove(received)
        return Verdict("kept", received, "the client's own id, fit to pass on")
    return Verdict("dropped", received, "is not one id that is fit to pass on")


def _added(name: bytes, policy: HeaderPolicy) -> str:
    if name == policy.session_id_name:
        return "session_id_header: tells the session its id"
    if name.startswith((b"x-forwarded-", b"forwarded")):
        return f"forwarded={policy.forwarded!r}: what is known of the client"
    return _ADDED[name]
