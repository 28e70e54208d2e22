"""The life of one request, written once.

A flow is a generator. It yields each question that needs I/O (a step), gets the
answer sent in or the failure thrown in, and decides; it never waits. The last thing
it yields is the `Reply`. It stays suspended there while the driver streams, and the
driver then sends in an `Ending`, or closes it. So the order of checks is the same
under ASGI and WSGI by construction, and what a request holds is given back once,
whichever way it ends.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import (
    METHODS,
    ClientDisconnected,
    ConnectFailed,
    ConnectTimeout,
    InternalError,
    InvalidCredential,
    MethodNotAllowed,
    ProxyError,
    ServiceNotFound,
    ServiceNotReady,
    SessionNotFound,
    StoreUnavailable,
    Unavailable,
    WebSocketUnsupported,
)
from .models import Ending, Outbound, Principal, Reply, Request, Session
from .rules import body, credential, forwarding, path, scope
from .rules.body import BodyMeter
from .rules.headers import RequestFields

if TYPE_CHECKING:
    from .proxy import SessionProxy

log = logging.getLogger("session_proxy")
access_log = logging.getLogger("session_proxy.access")


@dataclass(slots=True)
class Authenticate:
    """Ask the host's authenticator. Answer: a `Principal`."""

    request: Request


@dataclass(slots=True)
class FindKey:
    """Ask the key store. Answer: a `Key` or None."""

    digest: bytes


@dataclass(slots=True)
class FindService:
    """Ask the registry. Answer: a `Service` or None."""

    name: str


@dataclass(slots=True)
class FindSession:
    """Ask the registry. Answer: a `Session` or None."""

    service: str
    id: str


@dataclass(slots=True)
class RoundTrip:
    """Do it: connect, send, receive the head. Answer: an (async) `Response`."""

    outbound: Outbound
    meter: BodyMeter
    """What the driver counts the request's body with."""


Step = Authenticate | FindKey | FindService | FindSession | RoundTrip | Reply
Flow = Generator[Step, Any, None]
Answered = Generator[Step, Any, Any]


@dataclass(slots=True)
class Admitted:
    """What admission found out."""

    principal: Principal
    session: Session
    fields: RequestFields
    framing: tuple[bool, int | None]


def exchange(request: Request, proxy: SessionProxy) -> Flow:
    """Admit, forward, reply. Every failure becomes the reply of its row."""
    admitted: Admitted | None = None
    held = False
    error: ProxyError | None = None
    status = 499
    ending: Ending | None = None
    request.id = proxy.new_request_id()
    try:
        try:
            admitted = yield from admit(request, proxy)
            proxy.limiter.enter(admitted.session, admitted.principal)
            held = True
            reply = yield from forward(request, admitted, proxy)
        except ClientDisconnected:
            return
        except ProxyError as raised:
            error = raised
        except Exception as raised:
            error = InternalError(repr(raised))
            error.__cause__ = raised
        if error is not None:
            _report(error, request)
            reply = error.reply(
                request.id, head=request.method == "HEAD", strict=proxy.strict
            )
        status = reply.status
        ending = yield reply
    finally:
        if held and admitted is not None:
            proxy.limiter.leave(admitted.session, admitted.principal)
        if access_log.isEnabledFor(logging.INFO):
            _record(request, admitted, status, error, ending)


def admit(request: Request, proxy: SessionProxy) -> Answered:
    """Who is it, and may they? In the order of the contract; answers `Admitted`.

    Until the caller is known no registry is asked, and no byte of the body.
    """
    if request.method not in METHODS:
        raise MethodNotAllowed(request.method)
    fields = proxy.header_policy.rules.sift(request)
    request.id = fields.request_id() or request.id
    fields.host()
    framing = fields.framing(request.http_version)
    route = request.route
    try:
        if proxy.authenticate is not None:
            principal = yield Authenticate(request)
        else:
            token = credential.bearer(fields.authorization)
            key = yield FindKey(credential.digest(token))
            if key is None:
                raise InvalidCredential("no such key, or not valid now")
            principal = key.principal
        scope.check_service(principal, route.service)
        service = yield FindService(route.service)
        if service is None:
            raise ServiceNotFound(route.service)
        if not service.ready:
            raise ServiceNotReady(route.service)
        if route.session_id is None:
            raise SessionNotFound("not the shape of a session id")
        session = yield FindSession(route.service, route.session_id)
        if session is None:
            raise SessionNotFound(route.session_id)
    except OSError as error:
        raise StoreUnavailable(repr(error)) from error
    plain = path.decoded(route.target)
    path.check_query(request.query)
    scope.check_request(principal, request.method, plain)
    scope.check_reserved(plain, proxy.reserved_paths)
    if fields.websocket:
        raise WebSocketUnsupported("this server or deployment does none")
    body.check_declared(framing[1], proxy.limits.body)
    return Admitted(principal, session, fields, framing)


def forward(request: Request, admitted: Admitted, proxy: SessionProxy) -> Answered:
    """One round trip; a second when none was made because the session had moved."""
    session = admitted.session
    try:
        response = yield _round_trip(request, admitted, session, proxy)
    except (ConnectFailed, ConnectTimeout) as failure:
        # Nothing was sent, so looking again cannot deliver anything twice.
        try:
            fresh = yield FindSession(session.service, session.id)
        except OSError:
            raise failure from None
        if fresh is None:
            raise SessionNotFound("ended while connecting") from failure
        if fresh.pool_key == session.pool_key:
            raise
        session = fresh
        response = yield _round_trip(request, admitted, session, proxy)
    return forwarding.inbound(response.status, response.headers, request, session)


def _round_trip(
    request: Request, admitted: Admitted, session: Session, proxy: SessionProxy
) -> RoundTrip:
    outbound = forwarding.outbound(
        request, admitted.fields, session, proxy.header_policy, admitted.framing
    )
    return RoundTrip(outbound, BodyMeter(admitted.framing[1], proxy.limits.body))


def _report(error: ProxyError, request: Request) -> None:
    """Server-side trouble goes to the log, with its cause; the client's does not."""
    if isinstance(error, InternalError):
        log.error(
            "request %s: %s",
            request.id.decode("latin-1"),
            error,
            exc_info=error.__cause__ or error,
        )
    elif isinstance(error, StoreUnavailable) or (
        error.status >= 500 and not isinstance(error, Unavailable)
    ):
        log.warning(
            "request %s: %s: %s", request.id.decode("latin-1"), error.slug, error
        )


def _record(
    request: Request,
    admitted: Admitted | None,
    status: int,
    error: ProxyError | None,
    ending: Ending | None,
) -> None:
    """One line a request, and the same as attributes (`extra`) for programs.

    Never a query string, a credential, or an upstream address.
    """
    route = request.route
    if error is not None:
        answered_by, reason = "proxy", error.slug
    elif status == 499:
        answered_by, reason = "nobody", "client_disconnected"
    else:
        answered_by, reason = "session", "cancelled"
    if ending is not None and (error is None or ending.reason != "completed"):
        reason = ending.reason
    target = (route.target or b"").decode("latin-1")
    values = {
        "request_id": request.id.decode("latin-1"),
        "service": route.service,
        "session_id": route.session_id,
        "principal": admitted.principal.id if admitted else None,
        "method": request.method,
        "path": target,
        "status": status,
        "answered_by": answered_by,
        "end_reason": reason,
        "bytes_received": ending.bytes_received if ending else 0,
        "bytes_sent": ending.bytes_sent if ending else 0,
        "headers_ms": round(ending.headers_after * 1000, 1) if ending else None,
        "total_ms": round(ending.total * 1000, 1) if ending else None,
    }
    access_log.info(
        # The path as it was spelled: decoded, it could hold a line break.
        "%s %s%s %d %s %s",
        request.method,
        route.public.decode("latin-1"),
        target,
        status,
        answered_by,
        reason,
        extra=values,
    )
