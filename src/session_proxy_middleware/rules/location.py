"""A session's `Location` and `Content-Location`, as the client can use them."""

from __future__ import annotations

import re

from ..models import Origin, Session

# scheme and authority of an absolute URL, or the authority of `//host/path`. Browsers
# take a backslash for a slash, and none or many of them for two (URL Standard,
# "special authority ignore slashes state").
_ABSOLUTE = re.compile(rb"(?:(https?):[/\\]*|[/\\]{2,})([^/\\?#]*)", re.IGNORECASE)
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_PORT = re.compile(rb"(.*?)(?::([0-9]{0,5}))?", re.DOTALL)


def rewritten(value: bytes, session: Session, public: bytes) -> bytes:
    """The reference with the session's own address replaced by its public path.

    Absolute paths and URLs on the session's own authority point into the session;
    relative references and other hosts are left as they are. What is already under
    `public` is not prefixed again.
    """
    absolute = _ABSOLUTE.match(value)
    if absolute is not None:
        if not _is_own(absolute[1], absolute[2], session.origin):
            return value
        rest = value[absolute.end() :]
        path = rest if rest.startswith(b"/") else b"/" + rest
    elif value.startswith(b"/"):
        path = value
    else:
        return value
    if _under(path, public):
        return path
    base = session.base_path
    if base and _under(path, base):
        path = path[len(base) :]
        if not path.startswith(b"/"):
            path = b"/" + path
    return public + path


def _under(path: bytes, prefix: bytes) -> bool:
    if not path.startswith(prefix):
        return False
    return len(path) == len(prefix) or path[len(prefix) : len(prefix) + 1] in b"/?#"


def _is_own(scheme: bytes | None, authority: bytes, origin: Origin) -> bool:
    authority = authority.rpartition(b"@")[2].lower()
    if authority == origin.authority.lower():
        return True
    found = _PORT.fullmatch(authority)
    if found is None or origin.scheme == "unix":
        return False
    host, digits = found.groups()
    own_scheme = origin.scheme.encode()
    port = int(digits) if digits else _DEFAULT_PORTS[(scheme or own_scheme).lower()]
    own_host = origin.host.encode("ascii").lower()
    return host.strip(b"[]") == own_host and port == origin.port
