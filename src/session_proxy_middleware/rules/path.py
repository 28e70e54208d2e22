"""What a session's path may contain, and what it says when decoded."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ..errors import MalformedPath
from ..models import Route

# Of these and nothing else most paths are made, and need no closer look.
_HARMLESS = (
    b"/-_~!$&'()*+,=:@0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
# Whatever makes a closer look necessary.
_SUSPECT = re.compile(rb"[\x00-\x20\x7f#%\\]|/\.\.?(?:[/;]|$)")
# RFC 9112 §3.2: a target has no whitespace, no control character, no fragment.
_ILLEGAL = re.compile(rb"[\x00-\x20\x7f#\\]")
_ILLEGAL_QUERY = re.compile(rb"[\x00-\x20\x7f#]")
_DOTS = (b".", b"..")
_SLASHES = re.compile("/+")


def decoded(target: bytes | None) -> str:
    """The path decoded once, for comparing; what is forwarded stays as it was.

    Raises:
        MalformedPath: a dot segment in any spelling, also before `;`
            (CVE-2026-44373), a NUL or backslash, or a byte that no target has.
    """
    if target is None:
        raise MalformedPath("the route's shape appears only after decoding")
    if not target.translate(None, _HARMLESS):
        return target.decode("ascii")
    if _SUSPECT.search(target) is None:
        return target.decode("utf-8", "replace")
    if _ILLEGAL.search(target):
        raise MalformedPath("a byte that no request target has")
    plain = unquote_to_bytes(target)
    if b"\0" in plain or b"\\" in plain:
        raise MalformedPath("an encoded NUL or backslash")
    for segment in plain.split(b"/"):
        if segment.split(b";", 1)[0] in _DOTS:
            raise MalformedPath("a dot segment")
    return plain.decode("utf-8", "replace")


def look(route: Route, reserved: frozenset[str]) -> str:
    """The session's path decoded, worked out once for a route that is remembered, and
    with it whether it is one of `reserved`. Raises as `decoded` does."""
    findings = route.findings
    found = decoded(route.target)
    findings.reserved = plain(found) in reserved
    # Last: where it is there, another thread takes the rest for known.
    findings.plain = found
    return found


def check_query(query: bytes) -> None:
    """Raises `MalformedPath` for a byte that no query has; nothing is parsed."""
    if _ILLEGAL_QUERY.search(query):
        raise MalformedPath("a byte that no query has")


def plain(path: str) -> str:
    """A decoded path without what routers overlook: doubled and trailing slashes,
    `;` parameters, control characters, and case (Express and ASP.NET do by default).
    For deny lists, which must err on the broad side."""
    path = path.lower()
    if not path.isprintable():
        # "/bot\n" too: to Starlette's "^/bot$" it is "/bot".
        path = "".join(filter(str.isprintable, path))
    if "//" not in path and ";" not in path and not path.endswith("/"):
        return path
    if ";" in path:
        path = "/".join(segment.split(";", 1)[0] for segment in path.split("/"))
    return "/" + _SLASHES.sub("/", path).strip("/")
