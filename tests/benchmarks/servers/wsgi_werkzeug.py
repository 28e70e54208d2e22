"""werkzeug's `ProxyMiddleware` around the bare application."""

from __future__ import annotations

from werkzeug.middleware.http_proxy import ProxyMiddleware

from . import wire, wsgi_bare

app = ProxyMiddleware(
    wsgi_bare.app, {f"/{wire.SERVICE}/": {"target": wire.origin()}}, timeout=60
)
