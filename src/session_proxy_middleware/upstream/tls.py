"""The TLS contexts for `https` sessions: verification is on, and cuts are told."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def default_context() -> ssl.SSLContext:
    """The system's trust, made once and only when the first `https` session is
    called: loading the certificates takes tens of milliseconds."""
    return telling(ssl.create_default_context())


def telling(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, which from now on tells a connection that was cut from one
    that was closed (RFC 9112 §9.8): the option that hides it is set by default in some
    versions of Python (3.11.2 is one)."""
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context
