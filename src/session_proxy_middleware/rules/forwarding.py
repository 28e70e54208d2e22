"""The two crossings: request to session, response to client."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import ConfigError, UpstreamProtocolError
from ..models import Block, Field, Headers, Outbound, Reply, Request, Session
from . import cookies, cors, forwarded, isolation, location, via
from .headers import HOP_BY_HOP, Framing, HeaderRules, RequestFields, named_by
from .learnt import Learnt

# Names that mean something else already.
_NOT_OURS = HOP_BY_HOP | {
    b"authorization",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"via",
    b"x-request-id",
}
# RFC 9110 §8.6: a request with content semantics says so even when it is empty.
_SAYS_ZERO = frozenset({"POST", "PUT", "PATCH"})
_BODILESS = frozenset({204, 205, 304})
# nginx would else collect a stream before it passes any of it on.
_UNBUFFERED: Field = (b"x-accel-buffering", b"no")
_EMPTY: Field = (b"content-length", b"0")
# Each answer is one caller's. Caches that several share keep what came with a key from
# the others (RFC 9111 §3.5); of cookies, by which a host may know its callers, they
# know nothing (CVE-2023-30861). One's own cache may keep it as long as it would have.
_PRIVATE: Field = (b"cache-control", b"private")

(
    _KEEP,
    _DROP,
    _LENGTH,
    _TYPE,
    _ID,
    _CONNECTION,
    _LOCATION,
    _COOKIE,
    _BUFFERING,
    _CACHING,
) = range(10)
_RESPONSE_ACTIONS = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    **dict.fromkeys(location.FIELDS, _LOCATION),
    # The host server's own; a second one would be a contradiction.
    b"date": _DROP,
    b"server": _DROP,
    b"cache-control": _CACHING,
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"x-accel-buffering": _BUFFERING,
    b"x-request-id": _ID,
}


class _Actions(Learnt):
    """What to do with a field of a response, by its name. No session may send one whose
    name begins with one of `never`."""

    def __init__(self, known: dict[bytes, int], never: tuple[bytes, ...]) -> None:
        super().__init__(known)
        self._never = never

    def find(self, name: bytes) -> int:
        """See `Learnt`."""
        return _DROP if name.startswith(self._never) else _KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPolicy:
    """How header fields cross. Built once; wrong values raise `ConfigError`."""

    rules: HeaderRules = field(init=False, repr=False)
    forwarded: str = "set"
    session_id_header: str = "x-daily-session-id"
    max_fields: int = 200
    max_bytes: int = 65_536
    cookies: str = "isolate"
    isolation: str = "sandbox"
    owns_cors: bool = False
    session_id_name: bytes = field(init=False, repr=False)
    actions: dict[bytes, int] = field(init=False, repr=False)
    """What to do with a response's fields, by their names."""
    sandbox: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        forwarded.checked(self.forwarded)
        cookies.checked(self.cookies)
        isolation.checked(self.isolation)
        name = self.session_id_header
        token = isinstance(name, str) and re.fullmatch("[a-zA-Z0-9-]+", name)
        taken = token and (
            name.lower().encode() in _NOT_OURS
            or name.lower().startswith("x-forwarded-")
        )
        if not token or taken:
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
                cookies=self.cookies,
            ),
        )
        actions = dict(_RESPONSE_ACTIONS)
        if self.cookies != "forward":
            actions[b"set-cookie"] = _COOKIE if self.cookies == "isolate" else _DROP
        sandbox = self.isolation == "sandbox"
        if sandbox:
            actions |= {b"content-type": _TYPE}
            actions |= dict.fromkeys(isolation.ORIGIN_WIDE, _DROP)
        # Only an answer of the proxy's own says so.
        never: tuple[bytes, ...] = (b"x-session-proxy-",)
        if self.owns_cors:
            never += (cors.OWNED,)
        object.__setattr__(self, "actions", _Actions(actions, never))
        object.__setattr__(self, "sandbox", sandbox)


def outbound(
    request: Request,
    fields: RequestFields,
    session: Session,
    policy: HeaderPolicy,
    framing: Framing,
) -> Outbound:
    """The request as the session will get it."""
    version = request.http_version
    at = (session, request.route.public, request.client, request.scheme, version)
    crossing = fields.crossing
    if crossing is None or crossing[0] != at:
        block = Block(_crossing(request, fields, session, policy))
        crossing = fields.crossing = (at, block)
    target = session.base_path + (request.route.target or b"/")
    if request.query is not None:
        target += b"?" + request.query
    has_body, length = framing
    if length is None and not has_body and request.method in _SAYS_ZERO:
        length = 0
    return Outbound(
        session,
        request.method.encode("ascii"),
        target,
        crossing[1],
        request.id,
        has_body,
        length,
    )


def _crossing(
    request: Request, fields: RequestFields, session: Session, policy: HeaderPolicy
) -> Headers:
    """All fields but the request's id: of it alone they do not depend."""
    headers: Headers = [
        session.host_field,
        *fields.kept,
        via.FIELDS.get(request.http_version, via.FIELDS["1.1"]),
        (policy.session_id_name, session.id_bytes),
    ]
    if fields.cookies and b"cookie" not in fields.named:
        own_cookies = cookies.restored(fields.cookies, session)
        if own_cookies:
            headers.append((b"cookie", own_cookies))
    if policy.forwarded != "off":
        headers += forwarded.forwarded(
            policy.forwarded, request, fields.host, fields.forwarded
        )
    return headers


def inbound(
    status: int,
    headers: Headers,
    request: Request,
    session: Session,
    policy: HeaderPolicy,
) -> Reply:
    """The only way from what the session said to what the client gets.

    Raises:
        UpstreamProtocolError: a status that no final response has.
    """
    if not 200 <= status <= 599:
        raise UpstreamProtocolError(f"status {status}")
    kept: Headers = []
    keep = kept.append
    connection: list[bytes] = []
    has_id = has_length = has_buffering = has_caching = False
    weight = 0
    actions = policy.actions
    for each in headers:
        action = actions[each[0]]
        if action is _KEEP:
            keep(each)
        elif action is _DROP:
            continue
        elif action is _LENGTH:
            has_length = True
            keep(each)
        elif action is _TYPE:
            weight += isolation.WEIGHTS[each[1]]
            keep(each)
        elif action is _LOCATION:
            public = request.route.public
            keep((each[0], location.field(each[0], each[1], session, public)))
        elif action is _ID:
            has_id = True
            keep(each)
        elif action is _COOKIE:
            cookie = cookies.isolated(each[1], session, request.route)
            if cookie is not None:
                keep((each[0], cookie))
        elif action is _BUFFERING:
            has_buffering = True
            keep(each)
        elif action is _CACHING:
            has_caching = True
            keep(each)
        else:
            connection.append(each[1])
    if status in _BODILESS:
        # RFC 9110 §8.6 forbids it for 204; uvicorn fails on a 304 with one.
        kept = [each for each in kept if each[0] != b"content-length"]
        has_length = False
    if connection and (named := named_by(connection)):
        kept = [each for each in kept if each[0] not in named]
        has_id = has_id and b"x-request-id" not in named
        has_caching = has_caching and b"cache-control" not in named
        if b"content-type" in named:
            weight = 0
    if policy.sandbox and (weight != 1 or status == 304):
        # RFC 9111 §4.3.4: a 304 replaces the fields of what the browser has stored,
        # and so would undo the policy that came with a page.
        kept = isolation.sandboxed(kept)
    if not has_id:
        kept.append((b"x-request-id", request.id))
    # RFC 9111 §4.3.4: what a 304 says replaces what the stored answer had said.
    if not has_caching and status != 304:
        kept.append(_PRIVATE)
    if not has_length:
        if status == 205:  # RFC 9110 §15.3.6: it has no content, whatever came.
            kept.append(_EMPTY)
            return Reply(status, kept, b"")
        if status not in _BODILESS and not has_buffering:
            kept.append(_UNBUFFERED)
    return Reply(status, kept, None)
