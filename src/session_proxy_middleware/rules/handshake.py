"""The opening and the closing handshake of a WebSocket (RFC 6455), decided here.

Each leg has its own: what belongs to the client's is taken out, what belongs to the
session's is put in where the connection is made.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import MalformedHeaders, OriginRefused, UpstreamProtocolError
from ..models import Field, Headers, Relayed, Request, Session
from . import forwarding, isolation
from .forwarding import HeaderPolicy
from .headers import RequestFields

MARK = b"session-proxy"
BEARER = MARK + b".bearer."
"""Before a key, among the subprotocols: browsers can set no header field."""

_PROTOCOL = b"sec-websocket-protocol"
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AUTHORITY = re.compile(rb"(https?)://([^/?#@\s]+)")
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}

# RFC 6455 §7.4.1 and the IANA registry: codes that stand in no close frame.
NORMAL, GOING_AWAY = 1000, 1001
NO_STATUS, LOST = 1005, 1006
TOO_BIG, BROKEN, RESTART, BAD_GATEWAY = 1009, 1011, 1012, 1014
_SENT = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
_LONGEST_REASON = 123
"""Bytes: a control frame holds 125, two of them the code (§5.5)."""


@dataclass(slots=True)
class Offer:
    """What the client offers, without what is this proxy's or its leg's alone."""

    headers: Headers = field(repr=False)
    """All fields; a key among the subprotocols stands in Authorization instead."""
    subprotocols: list[bytes]
    """What the session may choose from."""
    own: bytes | None = field(repr=False)
    """What is chosen for a client that offered nothing but ours: browsers give up when
    none of what they offer is (Chromium, "no response was received")."""
    keyed: bool
    """Whether the key came among the subprotocols."""


@dataclass(slots=True)
class Accept:
    """The session has accepted, so the client's WebSocket is accepted as well."""

    headers: Headers
    subprotocol: str | None
    ending: Relayed | None = None
    """For the driver to say."""


def offer(request: Request) -> Offer:
    """What a handshake offers.

    Raises:
        MalformedHeaders: a subprotocol that is no token (RFC 6455 §4.1).
    """
    headers: Headers = []
    offered: list[bytes] = []
    for name, value in request.headers:
        plain = name.lower().replace(b"_", b"-")
        if plain == _PROTOCOL:
            offered += [each.strip(b" \t") for each in value.split(b",")]
        elif not plain.startswith(b"sec-websocket-"):
            headers.append((name, value))
    subprotocols: list[bytes] = []
    own: list[bytes] = []
    keyed = False
    for each in filter(None, offered):
        if _TOKEN.fullmatch(each) is None:
            raise MalformedHeaders("a subprotocol that is no token")
        if each.startswith(BEARER):
            headers.append((b"authorization", b"Bearer " + each[len(BEARER) :]))
            keyed = True
            own.append(each)
        elif each == MARK:
            own.append(each)
        else:
            subprotocols.append(each)
    if subprotocols:
        headers.append((_PROTOCOL, b", ".join(subprotocols)))
    chosen = own[0] if own and not subprotocols else None
    return Offer(headers, subprotocols, chosen, keyed)


def check_origin(
    request: Request,
    fields: RequestFields,
    offered: Offer,
    allowed: Collection[bytes],
) -> None:
    """Raises `OriginRefused` for a page of another origin (RFC 6455 §10.2) that may
    have used what the browser sends by itself: a cookie, a client's certificate.

    What the host's authenticator went by, only the host knows. So every browser is
    checked, and a browser is who sends `Origin`; but for one with a bearer token in
    its Authorization field, where no page can put one. Among the subprotocols any
    page can.
    """
    origins = [value for name, value in request.headers if name.lower() == b"origin"]
    if not origins:
        return
    authorization = fields.authorization
    if not offered.keyed and authorization and _is_bearer(authorization[0]):
        return
    if len(origins) == 1:
        if origins[0] in allowed:
            return
        found = _AUTHORITY.fullmatch(origins[0].lower())
        if found is not None and fields.host is not None:
            host = fields.host.lower().removesuffix(_DEFAULT_PORT[found[1]])
            if host == found[2].removesuffix(_DEFAULT_PORT[found[1]]):
                return
    raise OriginRefused("a page of another origin")


def _is_bearer(value: bytes) -> bool:
    return value[:7].lower() == b"bearer "


def accept(
    headers: Sequence[Field],
    subprotocol: str | None,
    offered: Offer,
    request: Request,
    session: Session,
    policy: HeaderPolicy,
) -> Accept:
    """The session's acceptance as the client gets it: its fields as those of any
    response, without what belongs to the session's leg alone."""
    crossed = forwarding.inbound(204, headers, request, session, policy).headers
    kept = [
        each
        for each in crossed
        if not each[0].startswith(b"sec-websocket-") and each not in isolation.ADDED
    ]
    if subprotocol is None and offered.own is not None:
        subprotocol = offered.own.decode("ascii")
    return Accept(kept, subprotocol)


def refusal_status(status: int) -> int:
    """Raises `UpstreamProtocolError` for what refuses nothing: a 2xx is no answer to a
    handshake, and would look like success."""
    if status < 300:
        raise UpstreamProtocolError(f"status {status} to a WebSocket handshake")
    return status


# Closing: what the one side said or did, and what the other is told.


def to_client(code: int) -> int:
    """The code for the client, from the session's.

    No status means no complaint; a session that is lost is behind a gateway here.
    """
    if code == NO_STATUS:
        return NORMAL
    return code if code in _SENT else BAD_GATEWAY


def to_session(code: int) -> int | None:
    """The code for the session, from the client's; None for a frame without one."""
    if code == NO_STATUS:
        return None
    return code if code in _SENT else BROKEN


def departed(message: Mapping[str, Any]) -> tuple[int, str]:
    """Code and reason of a `websocket.disconnect`: 1006 for a client that is lost.

    Also where the server says 1005 and no reason, not even an empty one: that is what
    uvicorn and granian say of a connection that broke. None is daphne's 1005.
    """
    code = message.get("code", LOST)
    if code is None:
        return NO_STATUS, ""
    if code == NO_STATUS and "reason" not in message:
        return LOST, ""
    return int(code), trimmed(message.get("reason") or "")


def trimmed(reason: str) -> str:
    """As much of a reason as a close frame holds."""
    encoded = reason.encode("utf-8", "replace")
    if len(encoded) <= _LONGEST_REASON:
        return encoded.decode()
    return encoded[:_LONGEST_REASON].decode("utf-8", "ignore")
