"""`session-proxy …` and `python -m session_proxy_middleware …`."""

from .command import main

__all__ = ["main"]
