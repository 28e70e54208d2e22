"""This package around the bare application, with its own upstream client."""

from __future__ import annotations

from session_proxy_middleware import Limits, MemoryStore, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware

from . import asgi_bare, wire

store = MemoryStore()
store.keys.create(services=["*"], secret=wire.SECRET)
for index in range(wire.sessions()):
    store.sessions.register(wire.SERVICE, wire.session_id(index), wire.origin(index))

#: 256 connections to one session are more than the default lets through.
LIMITS = Limits(per_session=100_000)

app = SessionProxyMiddleware(asgi_bare.app, SessionProxy(store=store, limits=LIMITS))
