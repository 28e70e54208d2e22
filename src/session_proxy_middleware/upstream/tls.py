"""The TLS context for `https` sessions: verification is on."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def default_context() -> ssl.SSLContext:
    """The system's trust, made once and only when the first `https` session is
    called: loading the certificates takes tens of milliseconds."""
    return ssl.create_default_context()
