"""The life of one request, written once.

A flow is a generator. It yields each question that needs I/O (a step), gets the
answer sent in or the failure thrown in, and decides; it never waits. The last thing
it yields is the `Reply`. It stays suspended there while the driver streams, and the
driver then puts an `Ending` on it and lets the flow run out, or closes it. So the order
of checks is the same under ASGI and WSGI by construction, and what a request holds is
given back once, whichever way it ends.
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
    Misdirected,
    ProxyError,
    RequestTimeout,
    ReservedPath,
    ServiceNotFound,
    ServiceNotReady,
    SessionNotFound,
    StoreUnavailable,
    Unavailable,
    WebSocketUnsupported,
)
from .fence import Disown, FindAgain, check_guard, find_again
from .guard import MISDIRECTED
from .interfaces import UNKNOWN
from .models import (
    Ending,
    Key,
    Outbound,
    Principal,
    Relayed,
    Reply,
    Request,
    Session,
)
from .opening import AwaitReady, opened
from .passage import Passage, recall
from .rules import body, credential, forwarding, path, scope, via
from .rules.body import BodyMeter

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
    meter: BodyMeter | None
    """What the driver counts the request's body with, if there is one."""


Step = (
    Authenticate
    | FindKey
    | FindService
    | FindSession
    | FindAgain
    | AwaitReady
    | RoundTrip
    | Disown
    | Reply
)
Flow = Generator[Step, Any, None]
Answered = Generator[Step, Any, Any]


def exchange(request: Request, proxy: SessionProxy) -> Flow:
    """Admit, forward, reply. Every failure becomes the reply of its row."""
    principal: Principal | None = None
    held: Session | None = None
    error: ProxyError | None = None
    status = 499
    ending: Ending | None = None
    meter: BodyMeter | None = None
    limiter = proxy.limiter
    recorded = access_log.isEnabledFor(logging.INFO)
    request.id = proxy.new_request_id()
    cors = proxy.cors
    try:
        if cors is not None and (preflight := cors.preflight(request)) is not None:
            status = preflight.status
            preflight.recorded = recorded
            yield preflight
            ending = preflight.ending
            return
        try:
            passage = recall(request, proxy)
            if passage is None:
                passage = yield from admit(request, proxy)
            principal, session = passage.principal, passage.session
            limiter.enter(session, principal)
            held = session
            if session.state != "running":
                session = yield from opened(session, wait=proxy.ready_wait > 0)
            policy = proxy.header_policy
            fields, framing = passage.fields, passage.framing
            if framing[0]:
                upgrade = bool(fields.upgrade)
                meter = BodyMeter(framing[1], proxy.limits.body, upgrade=upgrade)
            if passage.outbound is not None and session is passage.session:
                sent = forwarding.again(passage.outbound, request)
            else:
                sent = forwarding.outbound(request, fields, session, policy, framing)
                if session is passage.session:
                    proxy.passages.keep(passage, request, sent)
            try:
                response = yield RoundTrip(sent, meter)
                if response.status == MISDIRECTED:
                    yield from check_guard(response, session, response)
            except (ConnectFailed, ConnectTimeout, Misdirected) as failure:
                # Nothing was processed, so a second try delivers nothing twice.
                session = yield from find_again(session, failure, meter)
                session = yield from opened(session, wait=proxy.ready_wait > 0)
                sent = forwarding.outbound(request, fields, session, policy, framing)
                response = yield RoundTrip(sent, meter)
                if response.status == MISDIRECTED:
                    yield from check_guard(response, session, response)
            reply = forwarding.inbound(
                response.status, response.headers, request, session, policy
            )
        except ClientDisconnected as gone:
            ending = gone.ending
            return
        except ProxyError as raised:
            error = raised
        except Exception as raised:
            error = InternalError(repr(raised))
            error.__cause__ = raised
        if error is not None:
            report(error, request)
            if type(error) is RequestTimeout and meter and not meter.received:
                log.warning("request %s: %s", request.id.decode("latin-1"), _NOTHING)
            reply = error.reply(
                request.id, head=request.method == "HEAD", strict=proxy.strict
            )
        status = reply.status
        if cors is not None:
            cors.grant(reply.headers, request)
        reply.recorded = recorded
        yield reply
        ending = reply.ending
    finally:
        if held is not None and principal is not None:
            limiter.leave(held, principal)
            activity = proxy.activity
            if activity is not None and error is None:
                activity.note(held, principal.id)
        if recorded:
            record(request, principal, status, error, ending, limiter.draining)


def admit(request: Request, proxy: SessionProxy) -> Answered:
    """Who is it, and may they? In the order of the contract; answers a `Passage`.

    Until the caller is known no registry is asked, and no byte of the body.
    """
    if request.method not in METHODS and not request.websocket:
        raise MethodNotAllowed(request.method)
    fields = proxy.header_policy.rules.sift(request)
    if fields.request_ids:
        request.id = fields.request_id() or request.id
    framing = fields.framing(request.http_version)
    route = request.route
    key: Key | None = None
    try:
        if proxy.authenticate is not None:
            credential.check_single(fields.authorization)
            principal = yield Authenticate(request)
        else:
            digest = credential.key_digest(fields)
            key = proxy.known_key(digest)
            if key is UNKNOWN:
                key = yield FindKey(digest)
            if key is None:
                raise InvalidCredential("no such key, or not valid now")
            principal = key.principal
        name = route.service
        if name not in principal.services:
            scope.check_service(principal, name)
        service = proxy.known_service(name)
        if service is UNKNOWN:
            service = yield FindService(name)
        if service is None:
            raise ServiceNotFound(name)
        if not service.ready:
            raise ServiceNotReady(name)
        id = route.session_id
        if id is None:
            raise SessionNotFound("not the shape of a session id")
        session = proxy.known_session(name, id)
        if session is UNKNOWN:
            session = yield FindSession(name, id)
        if session is None:
            raise SessionNotFound(id)
    except OSError as error:
        raise StoreUnavailable(repr(error)) from error
    findings = route.findings
    plain = findings.plain
    if plain is None:
        plain = path.look(route, proxy.reserved_paths)
    if request.query is not None:
        path.check_query(request.query)
    if principal.restricted:
        scope.check_request(principal, request.method, plain)
    if findings.reserved:
        raise ReservedPath("a platform path of the session")
    if b"websocket" in fields.upgrade and not request.websocket:  # RFC 6455 §4.1
        raise WebSocketUnsupported("this server or deployment does none")
    if fields.via:
        via.check(fields.via)
    if framing[0]:
        body.check_declared(framing[1], proxy.limits.body)
    return Passage(fields, framing, key, principal, service, session)


_NOTHING = (
    "no byte of its body came in time: the client stalled, or a middleware outside "
    "the proxy consumed the body; mount the proxy outermost"
)


def report(error: ProxyError, request: Request) -> None:
    """Server-side trouble goes to the log, with its cause; the client's does not."""
    if isinstance(error, InternalError):
        log.error(
            "request %s: %s",
            request.id.decode("latin-1"),
            error,
            exc_info=error.__cause__ or error,
        )
    elif (
        (isinstance(error, StoreUnavailable) and not error.reported)
        or isinstance(error, Misdirected)
        or (error.status >= 500 and not isinstance(error, Unavailable))
    ):
        log.warning(
            "request %s: %s: %s", request.id.decode("latin-1"), error.slug, error
        )


def record(
    request: Request,
    principal: Principal | None,
    status: int,
    error: ProxyError | None,
    ending: Ending | None,
    draining: bool,
) -> None:
    """One line a request, and the same as attributes (`extra`) for programs.

    Where nobody told a reason, the server ended the request, perhaps since the proxy
    is `draining`. Never a query string, a credential, or an upstream address.
    """
    cut = "draining" if draining else "cancelled"
    route = request.route
    if error is not None:
        answered_by, reason = "proxy", error.slug
    elif status == 499:
        answered_by, reason = "nobody", cut
    elif principal is None:  # A preflight: nobody has asked who it is.
        answered_by, reason = "proxy", cut
    else:
        answered_by, reason = "session", cut
    if ending is not None and (error is None or ending.reason != "completed"):
        reason = ending.reason
    target = (route.target or b"").decode("latin-1")
    values = {
        "request_id": request.id.decode("latin-1"),
        "service": route.service,
        "session_id": route.session_id,
        "principal": principal.id if principal else None,
        "method": request.method,
        "path": target,
        "status": status,
        "answered_by": answered_by,
        "end_reason": reason,
        "bytes_received": ending.bytes_received if ending else 0,
        "bytes_sent": ending.bytes_sent if ending else 0,
        "headers_ms": _milliseconds(ending.headers_after if ending else None),
        "total_ms": _milliseconds(ending.total if ending else None),
    }
    if isinstance(ending, Relayed):
        values |= {
            "messages_received": ending.messages_received,
            "messages_sent": ending.messages_sent,
            "close_code": ending.close_code,
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


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
