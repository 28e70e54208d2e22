"""A request taken through the whole flow, to see what comes out on either side."""

from __future__ import annotations

from session_proxy_middleware import Session, SessionProxy
from session_proxy_middleware.exchange import RoundTrip, exchange
from session_proxy_middleware.models import Headers, Outbound, Reply, Request
from tests.unit.test_exchange_order import Head, World
from tests.unit.values import a_proxy, a_request, a_session, keyed


def sent(
    request: Request, proxy: SessionProxy | None = None, session: Session | None = None
) -> Outbound:
    """What the session gets of it; the request must be admitted."""
    world = World(FindSession=session or a_session())
    flow = exchange(request, proxy or a_proxy())
    reply = world.until_reply(flow)
    flow.close()
    trip = world.steps[-1]
    assert isinstance(trip, RoundTrip), reply
    return trip.outbound


def sent_headers(*fields: tuple[bytes, bytes], **options: object) -> Headers:
    """The fields that the session gets when the client sends these."""
    return sent(a_request(headers=keyed(*fields)), a_proxy(**options)).headers


def refused(request: Request, proxy: SessionProxy | None = None) -> tuple[int, str]:
    """Status and slug of the refusal."""
    reply = World().run(request, proxy)
    return reply.status, dict(reply.headers)[b"x-session-proxy-error"].decode()


def passed_on(
    status: int,
    headers: Headers,
    session: Session | None = None,
    *,
    asked: bytes = b"/chat",
    fields: Headers | None = None,
    **options: object,
) -> Reply:
    """What the client gets of a session's response to a GET of `asked`."""
    request = a_request(asked, headers=keyed((b"x-request-id", b"r-1"), *fields or []))
    return World(
        FindSession=session or a_session(), RoundTrip=Head(status, headers)
    ).run(request, a_proxy(**options))


def values(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a field."""
    return [value for key, value in headers if key.lower() == name]
