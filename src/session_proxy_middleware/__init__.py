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
from .options import CORS, Limits, Timeouts
from .proxy import SessionProxy
from .stores.memory import MemoryStore

__all__ = [
    "CORS",
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
]
