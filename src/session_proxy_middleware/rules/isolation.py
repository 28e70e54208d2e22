"""What a session's answer may do in a browser that has the portal open.

A page is sandboxed into an origin of its own that nobody shares, and header fields
that speak for the whole origin, which is the portal's, are not passed on.
"""

from __future__ import annotations

import re

from ..errors import ConfigError
from ..models import Field, Headers
from .learnt import Learnt

MODES = ("sandbox", "off")

SANDBOX: Field = (
    b"content-security-policy",
    b"sandbox allow-scripts allow-forms allow-popups allow-downloads",
)
"""Without `allow-same-origin`: scripts run, in an opaque origin (HTML, Sandboxing)."""

_NOSNIFF: Field = (b"x-content-type-options", b"nosniff")

ADDED = (_NOSNIFF, SANDBOX)
"""What a page gets."""

ORIGIN_WIDE = frozenset(
    {
        b"accept-ch",  # RFC 8942 §3: kept for the origin.
        b"alt-svc",  # RFC 7838 §2: another server for the origin.
        b"attribution-reporting-register-source",  # For the reporting origin.
        b"attribution-reporting-register-trigger",
        b"clear-site-data",  # W3C: signs the portal's user out.
        b"critical-ch",
        b"expect-ct",  # RFC 9163 §2.1: for the host.
        b"nel",  # W3C Network Error Logging: the origin's errors, to the session.
        b"observe-browsing-topics",
        b"public-key-pins",  # RFC 7469 §2.1: for the host.
        b"public-key-pins-report-only",
        b"report-to",  # W3C Reporting: the origin's, where NEL sends to.
        b"secure-session-challenge",  # W3C Device Bound Session Credentials.
        b"secure-session-registration",
        b"sec-session-challenge",
        b"sec-session-registration",
        b"service-worker-allowed",  # W3C: a worker for paths outside its own.
        b"set-login",  # FedCM: whether the user is signed in to the origin.
        b"shared-storage-write",
        b"strict-transport-security",  # RFC 6797 §8.1: for the host.
        b"use-as-dictionary",  # RFC 9842 §2.1: for any path of the origin.
    }
)
"""Response fields by which one answer changes how a browser treats the others of
its origin."""

# One media type (RFC 9110 §8.3.1) and nothing a browser may read as a second: it
# takes the last of several that commas separate (Fetch, "extract a MIME type").
_TYPE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    rb"[ \t]*(?:;[^,]*)?"
)
_INERT_TYPES = frozenset(
    {
        b"application/gzip",
        b"application/javascript",
        b"application/json",
        b"application/jsonl",
        b"application/msgpack",
        b"application/octet-stream",
        b"application/pdf",
        b"application/wasm",
        b"application/x-ndjson",
        b"application/zip",
        b"text/css",
        b"text/csv",
        b"text/event-stream",
        b"text/javascript",
        b"text/markdown",
        b"text/plain",
    }
)
_INERT_KINDS = (b"audio/", b"font/", b"image/", b"video/")


def checked(mode: str) -> str:
    """The option `isolation`, checked. Raises `ConfigError`."""
    if mode not in MODES:
        raise ConfigError(f"isolation must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def is_inert(content_type: bytes) -> bool:
    """Whether a browser surely makes no page of this type.

    What is not known to be inert is treated as a page: HTML, XHTML and all other
    XML (SVG too), `multipart/x-mixed-replace`, whose parts bring types of their
    own, and what is no media type at all, because browsers then look into the
    content (MIME Sniffing §7).
    """
    found = _TYPE.fullmatch(content_type)
    if found is None:
        return False
    essence = found[1].lower()
    if essence.startswith(_INERT_KINDS):
        return not essence.endswith(b"+xml")
    return essence in _INERT_TYPES or essence.endswith(b"+json")


class _Weights(Learnt):
    """1 for an inert type, 2 for any other, so that the sum over an answer's
    Content-Type fields is 1 only for one field of an inert type."""

    most = 1024

    def find(self, name: bytes) -> int:
        """See `Learnt`."""
        return 1 if is_inert(name) else 2


WEIGHTS = _Weights()


def sandboxed(headers: Headers) -> Headers:
    """The fields of an answer that may be shown as a page.

    The session's own policies stay beside ours: each is enforced, so none can take
    back what another forbids (CSP3, "The effect of multiple policies"). Its
    `X-Content-Type-Options` goes, since browsers read the first alone (Fetch,
    "determine nosniff").
    """
    kept = [field for field in headers if field[0] != b"x-content-type-options"]
    return [*kept, *ADDED]
