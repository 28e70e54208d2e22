"""Mount live sessions (bots, agents, notebooks) into a web application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        ConfigError,
        Forbidden,
        InvalidCredential,
        ProxyError,
        StoreUnavailable,
        Unauthenticated,
    )
    from .models import Key, Principal, Request, Service, Session
    from .options import CORS, Caching, Limits, Timeouts, WebSockets
    from .proxy import SessionProxy
    from .stores import open_store
    from .stores.memory import MemoryStore

__all__ = [
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

_MODULES = ("errors", "models", "options", "proxy", "stores", "stores.memory")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is first used: a bot that wants
        `session_proxy_middleware.guard` alone need not have what the others need."""
        if name in __all__:
            for module in _MODULES:
                found = vars(import_module(f".{module}", __name__))
                if name in found:
                    globals()[name] = found[name]
                    return found[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
