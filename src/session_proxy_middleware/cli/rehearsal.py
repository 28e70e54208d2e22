"""A request that is taken through the flow and not sent.

The flow is the very one of the drivers; what is done here is what a driver does, up to
the round trip: its questions are put to the store, and nothing is probed or connected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from .. import lookups
from ..errors import ConfigError, ProxyError
from ..exchange import RoundTrip, exchange
from ..models import Headers, Outbound, Reply, Request
from ..opening import AwaitReady
from ..proxy import SessionProxy
from ..upstream import h1, resolving


@dataclass(slots=True)
class Rehearsal:
    """How far a request gets."""

    request: Request
    answers: dict[type, tuple[Any, Any]] = field(default_factory=dict)
    """What the store was asked and what it said, by the kind of question."""
    waits: bool = False
    """It would be held until the session is ready."""
    outbound: Outbound | None = None
    """What the session would get."""
    reply: Reply | None = None
    """What the client would get instead."""


def rehearse(request: Request, proxy: SessionProxy) -> Rehearsal:
    """Take the request as far as it gets."""
    proxy.activity = None  # Neither session nor key is in use by this.
    found = Rehearsal(request)
    answers = lookups.blocking(proxy)
    flow = exchange(request, proxy)
    step: Any = next(flow)
    while type(step) is not Reply:
        try:
            if type(step) is RoundTrip:
                _check(step.outbound, proxy)
                found.outbound = step.outbound
                flow.close()
                return found
            if type(step) is AwaitReady:
                found.waits = True
                answer: Any = step.session
            else:
                answer = answers[type(step)](step)
                found.answers[type(step)] = step, answer
        except (ProxyError, OSError) as failure:
            step = flow.throw(failure)
        else:
            step = flow.send(answer)
    found.reply = step
    flow.close()
    return found


def _check(outbound: Outbound, proxy: SessionProxy) -> None:
    """What a transport refuses before it opens a socket. Raises `ProxyError`."""
    h1.head(outbound)
    if resolving.is_address(outbound.session.origin.host):
        resolving.check(outbound.session.origin, proxy.networks)


def request_to(
    method: str, url: str, headers: Headers, client: str, proxy: SessionProxy
) -> Request | None:
    """The request as a server would hand it on; None where the path is no session's.

    `url` is `http://host/path`, `https://…` or the path alone.

    Raises:
        ConfigError: it is none of these.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "http", "localhost" + url
    if scheme not in ("http", "https") or not (mark or url.startswith("/")):
        raise ConfigError(
            "the URL must be http://…, https://… or a path from its '/' on"
        )
    rest = rest.partition("#")[0]  # A fragment is never sent.
    authority = rest.partition("?")[0].partition("/")[0]
    if "@" in authority:
        raise ConfigError("the URL must hold no user or password")
    path, asked, query = rest[len(authority) :].partition("?")
    raw = _ascii(path or "/")
    route = proxy.match(unquote(raw), raw.encode("ascii"))
    if route is None:
        return None
    if not any(name == b"host" for name, _ in headers):
        headers = [(b"host", _ascii(authority).encode("ascii")), *headers]
    sent_query = _ascii(query).encode("ascii") if asked else None
    return Request(
        method, route, sent_query or None, headers, client, scheme, "1.1", {}
    )


def _ascii(text: str) -> str:
    """As clients send what is beyond ASCII."""
    return "".join(each if each.isascii() else quote(each) for each in text)
