"""Mount live sessions (bots, agents, notebooks) into a web application."""

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
