"""This package around the bare WSGI application."""

from __future__ import annotations

from session_proxy_middleware import Limits, MemoryStore, SessionProxy
from session_proxy_middleware.wsgi import SessionProxyMiddleware

from . import wire, wsgi_bare

store = MemoryStore()
store.keys.create(services=["*"], secret=wire.SECRET)
for index in range(wire.sessions()):
    store.sessions.register(wire.SERVICE, wire.session_id(index), wire.origin(index))

proxy = SessionProxy(store=store, limits=Limits(per_session=100_000))
app = SessionProxyMiddleware(wsgi_bare.app, proxy)
