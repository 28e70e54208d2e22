"""Requests as the flow would hand them to a transport."""

from __future__ import annotations

import itertools

from session_proxy_middleware.models import Block, Headers, Outbound, Session
from session_proxy_middleware.stores.address import parse

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
REQUEST_ID = b"request-1"
_EPOCHS = itertools.count(1)


def session_at(url: str) -> Session:
    """A session at an address, registered just now."""
    origin, base_path = parse(url)
    return Session(
        id=ID,
        service="bot",
        origin=origin,
        base_path=base_path,
        epoch=next(_EPOCHS),
    )


def get(
    session: Session,
    target: bytes = b"/",
    headers: Headers | None = None,
    *,
    method: bytes = b"GET",
) -> Outbound:
    """A request without a body."""
    block = Block([session.host_field, *(headers or [])])
    return Outbound(session, method, target, (block,), REQUEST_ID, False, None)


def post(
    session: Session,
    length: int | None,
    target: bytes = b"/",
    *,
    method: bytes = b"POST",
) -> Outbound:
    """A request with a body; `length` None when that is not known beforehand."""
    block = Block([session.host_field])
    return Outbound(session, method, target, (block,), REQUEST_ID, length != 0, length)
