"""Small builders for the values that the pure layers take."""

from __future__ import annotations

import itertools

from session_proxy_middleware import MemoryStore, Session, SessionProxy
from session_proxy_middleware.models import Block, Headers, Outbound, Request, Route
from session_proxy_middleware.stores.address import parse

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
SECRET = "pk_secret"
KEY_FIELD = (b"authorization", b"Bearer pk_secret")
HOST_FIELD = (b"host", b"public.example")
_EPOCHS = itertools.count(1)


def a_route(
    target: bytes | None = b"/chat",
    *,
    service: str = "bot",
    session_id: str | None = ID,
) -> Route:
    return Route(service, session_id, target, b"/bot/sessions/" + ID.encode())


def a_request(
    target: bytes | None = b"/chat",
    *,
    method: str = "GET",
    headers: Headers | None = None,
    query: bytes | None = None,
    service: str = "bot",
    session_id: str | None = ID,
    client: str | None = "192.0.2.7",
    http_version: str = "1.1",
) -> Request:
    """With a key and a Host, unless `headers` says otherwise."""
    return Request(
        method,
        a_route(target, service=service, session_id=session_id),
        query,
        [HOST_FIELD, KEY_FIELD] if headers is None else headers,
        client,
        "https",
        http_version,
        {},
        b"request-1",
    )


def keyed(*fields: tuple[bytes, bytes]) -> Headers:
    """Host and key, and these."""
    return [HOST_FIELD, KEY_FIELD, *fields]


def a_session(url: str = "http://10.0.3.7:8080") -> Session:
    origin, base_path = parse(url)
    return Session(
        id=ID, service="bot", origin=origin, base_path=base_path, epoch=next(_EPOCHS)
    )


def an_outbound(
    target: bytes = b"/chat",
    headers: Headers | None = None,
    *,
    method: bytes = b"GET",
    has_body: bool = False,
    length: int | None = None,
) -> Outbound:
    fields = [(b"host", b"10.0.3.7:8080")] if headers is None else headers
    return Outbound(
        a_session(), method, target, (Block(fields),), b"request-1", has_body, length
    )


class AskedStore(MemoryStore):
    """A store that the flow asks in steps, like one across a network."""

    immediate = False


def a_proxy(**options: object) -> SessionProxy:
    return SessionProxy(AskedStore(), **options)  # type: ignore[arg-type]
