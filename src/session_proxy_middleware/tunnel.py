"""The life of one WebSocket, written once: a flow like `exchange`.

It is admitted exactly like a request; only the last step differs.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import (
    ClientDisconnected,
    ConnectFailed,
    ConnectTimeout,
    InternalError,
    Misdirected,
    ProxyError,
    WebSocketNotInstalled,
)
from .exchange import Answered, Step, access_log, admit, record, report
from .fence import check_guard, find_again
from .guard import MISDIRECTED
from .models import Ending, Field, Outbound, Principal, Reply, Request, Session
from .opening import opened
from .rules import forwarding, handshake
from .rules.forwarding import HeaderPolicy
from .rules.handshake import Accept, Offer
from .rules.headers import NO_BODY, RequestFields

if TYPE_CHECKING:
    from .proxy import SessionProxy


@dataclass(slots=True)
class Connect:
    """Open the session's WebSocket. Answer: `Connected` or `Refused`."""

    outbound: Outbound
    offered: Offer


@dataclass(slots=True)
class Connected:
    """The session has accepted; these are the fields of its answer."""

    headers: Sequence[Field]
    subprotocol: str | None


@dataclass(slots=True)
class Refused:
    """The session has answered otherwise."""

    status: int
    headers: Sequence[Field]
    body: bytes


TunnelStep = Step | Connect | Accept
Tunnel = Generator[TunnelStep, Any, None]


def tunnel(request: Request, proxy: SessionProxy) -> Tunnel:
    """Admit, connect, accept. Every failure becomes the reply of its row.

    The last step is an `Accept` or a `Reply`; the driver puts an `Ending` on it.
    """
    principal: Principal | None = None
    held: Session | None = None
    error: ProxyError | None = None
    status = 499
    ending: Ending | None = None
    limiter = proxy.limiter
    request.id = proxy.new_request_id()
    last: Accept | Reply
    try:
        try:
            offered = handshake.offer(request)
            request.headers = offered.headers
            passage = yield from admit(request, proxy)
            principal, session = passage.principal, passage.session
            fields = passage.fields
            if proxy.authenticate is not None:
                allowed = proxy.websockets.origins
                handshake.check_origin(request, fields, offered, allowed)
            limiter.enter(session, principal)
            held = session
            wait = proxy.ready_wait > 0
            if session.state != "running":
                session = yield from opened(session, wait=wait)
            policy = proxy.header_policy
            sent = _outbound(request, fields, session, policy)
            try:
                answer = yield Connect(sent, offered)
                yield from _check_guard(answer, session)
            except (ConnectFailed, ConnectTimeout, Misdirected) as failure:
                session = yield from find_again(session, failure, None)
                session = yield from opened(session, wait=wait)
                sent = _outbound(request, fields, session, policy)
                answer = yield Connect(sent, offered)
                yield from _check_guard(answer, session)
            if type(answer) is Connected:
                last = handshake.accept(
                    answer.headers,
                    answer.subprotocol,
                    offered,
                    request,
                    session,
                    policy,
                )
                status = 101
            else:
                status = handshake.refusal_status(answer.status)
                last = forwarding.inbound(
                    status, answer.headers, request, session, policy
                )
                last.body = answer.body
        except ClientDisconnected as gone:
            ending = gone.ending
            return
        except ProxyError as raised:
            error = raised
        except Exception as raised:
            error = InternalError(repr(raised))
            error.__cause__ = raised
        if error is not None:
            if not isinstance(error, WebSocketNotInstalled):  # Said once for all.
                report(error, request)
            last = error.reply(request.id, head=False, strict=proxy.strict)
            status = last.status
        yield last
        ending = last.ending
    finally:
        if held is not None and principal is not None:
            limiter.leave(held, principal)
            activity = proxy.activity
            if activity is not None and error is None:
                activity.note(held, principal.id)
        if access_log.isEnabledFor(logging.INFO):
            record(request, principal, status, error, ending, limiter.draining)


def _check_guard(answer: Connected | Refused, session: Session) -> Answered:
    # The connection of a refusal is closed already.
    if type(answer) is Refused and answer.status == MISDIRECTED:
        yield from check_guard(answer, session, None)


def _outbound(
    request: Request, fields: RequestFields, session: Session, policy: HeaderPolicy
) -> Outbound:
    sent = forwarding.outbound(request, fields, session, policy, NO_BODY)
    sent.method = b"GET"  # RFC 6455 §4.1.
    return sent
