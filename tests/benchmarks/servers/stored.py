"""This package around the bare application, on the store that a variable names."""

from __future__ import annotations

import os
from typing import Any

from session_proxy_middleware import Limits, SessionProxy, open_store
from session_proxy_middleware.asgi import SessionProxyMiddleware

from . import asgi_bare, wire


def app(variable: str) -> Any:
    """The application; the environment's `variable` holds the store's URL."""
    store = open_store(os.environ[variable])
    store.keys.create(secret=wire.SECRET)
    store.sessions.register(wire.SERVICE, wire.session_id(0), wire.origin(0))
    limits = Limits(per_session=100_000)
    return SessionProxyMiddleware(asgi_bare.app, SessionProxy(store, limits=limits))
