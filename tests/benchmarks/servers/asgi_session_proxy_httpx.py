"""This package around the bare application, over an httpx transport."""

from __future__ import annotations

import httpx

from session_proxy_middleware import SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware

from . import asgi_bare
from .asgi_session_proxy import LIMITS, store

UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)

proxy = SessionProxy(
    store=store, limits=LIMITS, transport=httpx.AsyncHTTPTransport(limits=UNLIMITED)
)
app = SessionProxyMiddleware(asgi_bare.app, proxy)
