"""The two crossings: request to session, response to client."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from ..errors import ConfigError, UpstreamProtocolError
from ..models import Block, Field, Headers, Outbound, Reply, Request, Route, Session
from . import cookies, cors, forwarded, isolation, location, via
from .headers import (
    HOP_BY_HOP,
    Framing,
    HeaderRules,
    RequestFields,
    named_by,
    section_size,
)
from .learnt import Learnt, keep

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
# Caches that many share keep what came with a key from everybody else by themselves
# (RFC 9111 §3.5). Of what else a hook may know its callers by, like a cookie, they know
# nothing (CVE-2023-30861). The client's own cache may keep it as it would have.
_PRIVATE: Field = (b"cache-control", b"private")

_KEEP, _DROP, _LENGTH, _TYPE, _ID, _CONNECTION, _LOCATION, _COOKIE, _BUFFERING = range(
    9
)
_RESPONSE_ACTIONS = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    **dict.fromkeys(location.FIELDS, _LOCATION),
    # The host server's own; a second one would be a contradiction.
    b"date": _DROP,
    b"server": _DROP,
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"x-accel-buffering": _BUFFERING,
    b"x-request-id": _ID,
}


# What a plan can do; the rest needs a look at the values.
_PLANNED = frozenset({_KEEP, _DROP, _LENGTH, _TYPE, _CONNECTION})
_GONE = frozenset({_DROP, _CONNECTION})
_USUAL_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive"})
# Plans remembered: how many at most, and for how many bytes of names. So many whole
# heads, too, of so many bytes.
_PLANS = 1024
_PLAN_BYTES = 1024
_CROSSED_BYTES = 2048


class _Actions(Learnt):
    """What to do with a field of a response, by its name. No session may send one whose
    name begins with one of `never`."""

    def __init__(self, known: dict[bytes, int], never: tuple[bytes, ...]) -> None:
        super().__init__(known)
        self._never = never

    def find(self, name: bytes) -> int:
        """See `Learnt`."""
        return _DROP if name.startswith(self._never) else _KEEP


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which fields of a response pass, where their names alone tell: sessions send the
    same ones, in the same order, again and again."""

    kept: Callable[[Sequence[Field]], tuple[Field, ...]]
    unbuffered: bool


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
    private: bool = False
    """Whether callers are known by something that caches do not know."""
    session_id_name: bytes = field(init=False, repr=False)
    actions: _Actions = field(init=False, repr=False)
    """What to do with a response's fields, by their names."""
    plans: dict[tuple[bytes, ...], _Plan] = field(init=False, repr=False)
    crossed: dict[tuple[Field, ...], tuple[int, tuple[Field, ...]]] = field(
        init=False, repr=False
    )
    """What became of fields that many responses share, all but the request's id."""
    sandbox: bool = field(init=False, repr=False)
    appends: bool = field(init=False, repr=False)

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
        put = object.__setattr__
        put(self, "actions", _Actions(actions, never))
        put(self, "plans", {})
        put(self, "crossed", {})
        put(self, "sandbox", sandbox)
        put(self, "appends", self.forwarded == "append")

    def plan(self, names: tuple[bytes, ...]) -> None:
        """Make a plan for responses with fields of these names, where one is possible;
        for each name once."""
        actions = [self.actions[name] for name in names]
        kept = [at for at, action in enumerate(actions) if action not in _GONE]
        # Of fewer than two an `itemgetter` makes no tuple.
        if len(kept) < 2 or not _PLANNED.issuperset(actions):
            return
        if sum(map(len, names)) <= _PLAN_BYTES:
            plan = _Plan(itemgetter(*kept), b"content-length" not in names)
            keep(self.plans, names, plan, _PLANS)

    def remember(
        self, headers: tuple[Field, ...], status: int, kept: tuple[Field, ...]
    ) -> None:
        """Responses with these fields, which the transport keeps, pass like this."""
        if section_size(headers) <= _CROSSED_BYTES:
            keep(self.crossed, headers, (status, kept), _PLANS)


def outbound(
    request: Request,
    fields: RequestFields,
    session: Session,
    policy: HeaderPolicy,
    framing: Framing,
) -> Outbound:
    """The request as the session will get it."""
    route = request.route
    if policy.appends and fields.forwarded:
        told = Block(_told(request, fields, policy, forwarded.extended))
        mounted = Block(
            [session.host_field, (policy.session_id_name, session.id_bytes)]
        )
    else:
        at = (request.client, request.scheme, request.http_version)
        known = fields.told
        if known is None or known[0] != at:
            block = Block(_told(request, fields, policy, forwarded.told))
            known = fields.told = at, block
        told = known[1]
        place = route.findings.mounted
        if place is None or place[0] is not session:
            place = session, Block(_mounted(route, session, policy))
            route.findings.mounted = place
        mounted = place[1]
    blocks: tuple[Block, ...] = (mounted, told)
    if fields.cookies and (own := cookies.restored(fields.cookies, session)):
        blocks += (Block([(b"cookie", own)]),)
    target = route.target or b"/"
    if session.base_path:
        target = session.base_path + target
    if request.query is not None:
        target += b"?" + request.query
    has_body, length = framing
    if length is None and not has_body and request.method in _SAYS_ZERO:
        length = 0
    method = request.method.encode("ascii")
    return Outbound(session, method, target, blocks, request.id, has_body, length)


def again(former: Outbound, request: Request) -> Outbound:
    """What `outbound` makes of a request that is like the one it made `former` of, but
    for its query and its id."""
    target = former.target
    if request.query is not None:
        target += b"?" + request.query
    return Outbound(
        former.session,
        former.method,
        target,
        former.blocks,
        request.id,
        former.has_body,
        former.length,
    )


def _told(
    request: Request,
    fields: RequestFields,
    policy: HeaderPolicy,
    of_client: Callable[[Request, RequestFields], Headers],
) -> Headers:
    """What the client says, and what the session is told of it, whatever it asks."""
    headers = [*fields.kept, via.FIELDS.get(request.http_version, via.FIELDS["1.1"])]
    if policy.forwarded != "off":
        headers += of_client(request, fields)
    return headers


def _mounted(route: Route, session: Session, policy: HeaderPolicy) -> Headers:
    """What the session is told of itself: its id, and where the client sees it."""
    headers = [session.host_field, (policy.session_id_name, session.id_bytes)]
    if policy.forwarded != "off":
        headers.append(forwarded.prefix(route))
    return headers


def inbound(
    status: int,
    headers: Sequence[Field],
    request: Request,
    session: Session,
    policy: HeaderPolicy,
) -> Reply:
    """The only way from what the session said to what the client gets.

    Raises:
        UpstreamProtocolError: a status that no final response has.
    """
    # Whatever a transport has for it: there is no body (RFC 9110 §6.4.1), and a server
    # that passed one on would pass an answer that nobody asked for.
    bodiless = request.method == "HEAD" or status in _BODILESS
    body = b"" if bodiless else None
    shared = headers if type(headers) is tuple else None
    if shared is not None:
        try:
            known = policy.crossed.get(shared)
        except TypeError:  # A transport of somebody else's, with lists in it.
            known = shared = None
        if known is not None and known[0] == status:
            return Reply(status, [*known[1], (b"x-request-id", request.id)], body)
    if not 200 <= status <= 599:
        raise UpstreamProtocolError(f"status {status}")
    found = dict(headers)
    names = tuple(found)
    plan = policy.plans.get(names)
    if (
        plan is None
        or len(names) != len(headers)
        or status in _BODILESS
        or found.get(b"connection", b"close") not in _USUAL_CONNECTION
    ):
        passed = _closer(status, headers, request, session, policy)
        policy.plan(names)
        return Reply(status, passed, body)
    kept = list(plan.kept(headers))
    # No type at all is one that no browser surely takes for data.
    if policy.sandbox and isolation.WEIGHTS[found.get(b"content-type", b"")] != 1:
        kept = isolation.sandboxed(kept)
    if plan.unbuffered:
        kept.append(_UNBUFFERED)
    if policy.private and b"cache-control" not in found:
        kept.append(_PRIVATE)
    if shared is not None:
        policy.remember(shared, status, tuple(kept))
    kept.append((b"x-request-id", request.id))
    return Reply(status, kept, body)


def _closer(
    status: int,
    headers: Sequence[Field],
    request: Request,
    session: Session,
    policy: HeaderPolicy,
) -> Headers:
    """What `inbound` makes of the fields of any response; it takes the short way itself
    where it leads to the same."""
    kept: Headers = []
    keep = kept.append
    connection: list[bytes] = []
    has_id = has_length = has_buffering = False
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
        else:
            connection.append(each[1])
    if status in _BODILESS:
        # RFC 9110 §8.6 forbids it for 204; uvicorn fails on a 304 with one.
        kept = [each for each in kept if each[0] != b"content-length"]
        has_length = False
    if connection and (named := named_by(connection)):
        kept = [each for each in kept if each[0] not in named]
        has_id = has_id and b"x-request-id" not in named
        if b"content-type" in named:
            weight = 0
    if policy.sandbox and (weight != 1 or status == 304):
        # RFC 9111 §4.3.4: a 304 replaces the fields of what the browser has stored,
        # and so would undo the policy that came with a page.
        kept = isolation.sandboxed(kept)
    if not has_length:
        if status == 205:  # RFC 9110 §15.3.6: it has no content, whatever came.
            kept.append(_EMPTY)
        elif status not in _BODILESS and not has_buffering:
            kept.append(_UNBUFFERED)
    # RFC 9111 §4.3.4: what a 304 says replaces what the stored answer had said.
    if (
        policy.private
        and status != 304
        and not any(each[0] == b"cache-control" for each in kept)
    ):
        kept.append(_PRIVATE)
    if not has_id:
        kept.append((b"x-request-id", request.id))
    return kept
