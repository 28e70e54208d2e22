"""The two crossings: request to session, response to client."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import ConfigError, UpstreamProtocolError
from ..models import Field, Headers, Outbound, Reply, Request, Session
from . import forwarded, location, via
from .headers import HOP_BY_HOP, Framing, HeaderRules, RequestFields, named_by

# Names that mean something else already.
_NOT_OURS = HOP_BY_HOP | {
    b"authorization",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"via",
    b"x-request-id",
}
# RFC 9110 §8.6: a request with content semantics says so even when it is empty.
_SAYS_ZERO = frozenset({"POST", "PUT", "PATCH"})
_BODILESS = frozenset({204, 205, 304})
# nginx would else collect a stream before it passes any of it on.
_UNBUFFERED: Field = (b"x-accel-buffering", b"no")
_EMPTY: Field = (b"content-length", b"0")

_DROP, _CONNECTION, _LENGTH, _LOCATION, _ID, _BUFFERING = range(6)
_RESPONSE_ACTIONS = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    # The host server's own; a second one would be a contradiction.
    b"date": _DROP,
    b"server": _DROP,
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"content-location": _LOCATION,
    b"location": _LOCATION,
    b"x-accel-buffering": _BUFFERING,
    b"x-request-id": _ID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPolicy:
    """How header fields cross. Built once; wrong values raise `ConfigError`."""

    rules: HeaderRules = field(init=False, repr=False)
    forwarded: str = "set"
    session_id_header: str = "x-daily-session-id"
    max_fields: int = 200
    max_bytes: int = 65_536
    session_id_name: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        forwarded.checked(self.forwarded)
        name = self.session_id_header
        token = isinstance(name, str) and re.fullmatch("[a-zA-Z0-9-]+", name)
        if not token or name.lower().encode() in _NOT_OURS:
            raise ConfigError(
                "session_id_header must be a header name of one's own, like "
                f"'x-daily-session-id', not {name!r}"
            )
        platform = name.lower().encode()
        object.__setattr__(self, "session_id_name", platform)
        object.__setattr__(
            self,
            "rules",
            HeaderRules(
                platform=platform,
                max_fields=self.max_fields,
                max_bytes=self.max_bytes,
            ),
        )


def outbound(
    request: Request,
    fields: RequestFields,
    session: Session,
    policy: HeaderPolicy,
    framing: Framing,
) -> Outbound:
    """The request as the session will get it."""
    headers: Headers = [
        session.host_field,
        *fields.kept,
        (b"x-request-id", request.id),
        via.FIELDS.get(request.http_version, via.FIELDS["1.1"]),
        (policy.session_id_name, session.id_bytes),
    ]
    if policy.forwarded != "off":
        headers += forwarded.forwarded(
            policy.forwarded, request, fields.host, fields.forwarded
        )
    target = session.base_path + (request.route.target or b"/")
    if request.query is not None:
        target += b"?" + request.query
    has_body, length = framing
    if length is None and not has_body and request.method in _SAYS_ZERO:
        length = 0
    return Outbound(
        session, request.method.encode("ascii"), target, headers, has_body, length
    )


def inbound(status: int, headers: Headers, request: Request, session: Session) -> Reply:
    """The only way from what the session said to what the client gets.

    Raises:
        UpstreamProtocolError: a status that no final response has.
    """
    if not 200 <= status <= 599:
        raise UpstreamProtocolError(f"status {status}")
    kept: Headers = []
    keep = kept.append
    connection: list[bytes] = []
    has_id = has_length = has_buffering = False
    actions = _RESPONSE_ACTIONS
    for each in headers:
        name = each[0]
        action = actions.get(name)
        if action is None:
            # Only an answer of the proxy's own says so.
            if not name.startswith(b"x-session-proxy-"):
                keep(each)
        elif action is _DROP:
            continue
        elif action == _LENGTH:
            # RFC 9110 §8.6 forbids it for 204; uvicorn fails on a 304 with one.
            if status not in _BODILESS:
                has_length = True
                keep(each)
        elif action == _LOCATION:
            keep((name, location.rewritten(each[1], session, request.route.public)))
        elif action == _ID:
            has_id = True
            keep(each)
        elif action == _BUFFERING:
            has_buffering = True
            keep(each)
        else:
            connection.append(each[1])
    if connection and (named := named_by(connection)):
        kept = [each for each in kept if each[0] not in named]
        has_id = has_id and b"x-request-id" not in named
    if not has_id:
        kept.append((b"x-request-id", request.id))
    if not has_length:
        if status == 205:  # RFC 9110 §15.3.6: it has no content, whatever came.
            kept.append(_EMPTY)
            return Reply(status, kept, b"")
        if status not in _BODILESS and not has_buffering:
            kept.append(_UNBUFFERED)
    return Reply(status, kept, None)
