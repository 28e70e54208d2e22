"""References in a session's header fields, as the client can use them.

`Location` and `Content-Location` (RFC 9110), `Refresh` (HTML, "shared declarative
refresh steps") and the targets of `Link` (RFC 8288).
"""

from __future__ import annotations

import re

from ..models import Session
from .authority import is_own

FIELDS = frozenset({b"content-location", b"link", b"location", b"refresh"})

# scheme and authority of an absolute URL, or the authority of `//host/path`. Browsers
# take a backslash for a slash, and none or many of them for two (URL Standard,
# "special authority ignore slashes state").
_ABSOLUTE = re.compile(rb"(?:(https?):[/\\]*|[/\\]{2,})([^/\\?#]*)", re.IGNORECASE)
# Seconds, a separator, perhaps `url=` and a quotation mark; the rest is the reference.
_REFRESH = re.compile(
    rb"([0-9.]*[ \t]*[;,]?[ \t]*(?:url[ \t]*=[ \t]*)?)([\"']?)(.*)",
    re.IGNORECASE | re.DOTALL,
)
# Quoted text is left alone: only what stands in angle brackets outside is a target.
_TARGET = re.compile(rb'"(?:[^"\\]|\\.)*"?|<([^<>]*)>', re.DOTALL)


def field(name: bytes, value: bytes, session: Session, public: bytes) -> bytes:
    """The value of one of `FIELDS` with its references `rewritten`."""
    if name == b"link":

        def link(found: re.Match[bytes]) -> bytes:
            target = found[1]
            if target is None:
                return found[0]
            return b"<%b>" % rewritten(target, session, public)

        return _TARGET.sub(link, value)
    if name == b"refresh" and (found := _REFRESH.fullmatch(value)):
        before, quote, reference = found.groups()
        reference, end, after = reference.partition(quote or b"\0")
        new = rewritten(reference, session, public)
        return b"".join((before, quote, new, end, after))
    return rewritten(value, session, public)


def rewritten(value: bytes, session: Session, public: bytes) -> bytes:
    """The reference with the session's own address replaced by its public path.

    Absolute paths and URLs on the session's own authority point into the session;
    relative references and other hosts are left as they are. What is already under
    `public` is not prefixed again.
    """
    plain = value.replace(b"\t", b"")  # As browsers do, before they parse it.
    absolute = _ABSOLUTE.match(plain)
    if absolute is not None:
        if not is_own(absolute[1], absolute[2], session.origin):
            return value
        rest = plain[absolute.end() :]
        path = rest if rest.startswith(b"/") else b"/" + rest
    elif plain.startswith(b"/"):
        path = plain
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
