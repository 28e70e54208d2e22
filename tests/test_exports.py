"""The public names. Adding one is a decision; removing one breaks somebody."""

from __future__ import annotations

import session_proxy_middleware

NAMES = [
    "CORS",
    "Caching",
    "ConfigError",
    "Forbidden",
    "InvalidCredential",
    "Key",
    "Limits",
    "MemoryStore",
    "Principal",
    "ProxyError",
    "Request",
    "Service",
    "Session",
    "SessionProxy",
    "StoreUnavailable",
    "Timeouts",
    "Unauthenticated",
    "WebSockets",
    "open_store",
]


def test_the_public_names_are_these_and_no_others() -> None:
    assert session_proxy_middleware.__all__ == NAMES


def test_every_public_name_is_there() -> None:
    for name in NAMES:
        assert hasattr(session_proxy_middleware, name)


def test_both_drivers_offer_the_admin_api_under_one_name() -> None:
    from session_proxy_middleware.admin import asgi, wsgi

    assert asgi.AdminAPI.__name__ == wsgi.AdminAPI.__name__ == "AdminAPI"
    assert "AdminAPI" not in session_proxy_middleware.__all__


def test_both_drivers_offer_the_middleware_under_one_name() -> None:
    from session_proxy_middleware import asgi, wsgi

    assert asgi.SessionProxyMiddleware.__name__ == "SessionProxyMiddleware"
    assert wsgi.SessionProxyMiddleware.__name__ == "SessionProxyMiddleware"
