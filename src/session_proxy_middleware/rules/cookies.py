"""Sessions and the portal share a browser, and so a cookie jar. Kept apart here.

A cookie that a session sets is given to the browser under a name that tells the
session it belongs to, and under the session's own public path. On the way in only
cookies so named reach that session, under the names it gave them. So it sees no
other cookie, can set none that anybody else reads, and a name it forges is just the
tail of a name of its own.

Browsers do not say who set a cookie, so the name alone tells. Whoever may set cookies
for the portal's host, like the portal itself, could set one of exactly that name.

The terms, and what browsers do, are those of RFC 6265 §5 and of its revision,
draft-ietf-httpbis-rfc6265bis.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

from ..errors import ConfigError
from ..models import Route, Session

MODES = ("isolate", "drop", "forward")

MARK = b"sp_"
"""What the name of every session's cookie has in it, in the browser."""

_BLANK = b" \t"
# rfc6265bis §5.6: browsers ignore a cookie with one of these, and a longer
# attribute.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LONGEST_ATTRIBUTE = 1024
# Domain and Path are the proxy's to say. An attribute that is not known here could
# one day widen who gets the cookie.
_KEPT = frozenset(
    {b"expires", b"max-age", b"secure", b"httponly", b"samesite", b"partitioned"}
)
# Browsers hold some 180 cookies for all of a site and then throw some away: those of
# low priority first where they know the word (Chromium), so that a session which
# sets hundreds cannot push the portal's out.
_LAST = b"Priority=Low"
# What follows is a second field's first cookie: servers that join equal fields, as
# WSGI's do, put a comma between them (RFC 9113 §8.2.3 asks for "; ").
_JOINED = re.compile(rb",[ \t]*[^\s,;=]+=")


def checked(mode: str) -> str:
    """The option `cookies`, checked. Raises `ConfigError`."""
    if mode not in MODES:
        raise ConfigError(f"cookies must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def mark(session: Session) -> bytes:
    """What the names of a session's cookies begin with in the browser.

    128 bits of a hash: short, and no two sessions' are alike. The length keeps
    service and id apart, whatever characters they have.
    """
    identity = f"{len(session.service)}/{session.service}/{session.id}"
    digest = sha256(identity.encode("utf-8", "surrogatepass")).digest()[:16]
    return MARK + urlsafe_b64encode(digest).rstrip(b"=") + b"_"


def isolated(value: bytes, session: Session, route: Route) -> bytes | None:
    """A session's `Set-Cookie` as the browser gets it; None where it must not.

    Left out is what a browser would not keep either: a control character, neither
    name nor value, a name whose prefix (`__Host-`, `__Secure-`, …) promises what
    the attributes do not say, and a path that this session does not answer.
    """
    if _CONTROL.search(value):
        return None
    pair, *rest = value.split(b";")
    name, equals, content = pair.partition(b"=")
    if not equals:
        # RFC 6265bis §5.6: no "=", no name.
        name, content = b"", pair
    name, content = name.strip(_BLANK), content.strip(_BLANK)
    if not name and not content:
        return None
    kept: list[bytes] = []
    said: dict[bytes, bytes] = {}
    for attribute in rest:
        key, _, text = attribute.partition(b"=")
        key, text = key.strip(_BLANK).lower(), text.strip(_BLANK)
        if len(text) > _LONGEST_ATTRIBUTE:
            continue
        said[key] = text
        if key in _KEPT:
            kept.append(attribute.strip(_BLANK))
    promises = _promises(name or content)
    if promises and not (name and _kept_promises(promises, said)):
        return None
    path = _public_path(said.get(b"path", b""), session, route)
    if path is None or b";" in path or _CONTROL.search(path):
        return None
    held = b"__Secure-" if promises else b""
    cookie = b"%b%b%b=%b" % (held, mark(session), name, _without_comma(content))
    return b"; ".join((cookie, b"Path=" + path, *kept, _LAST))


def restored(values: Iterable[bytes], session: Session) -> bytes:
    """What a session gets of the request's `Cookie` fields: its own cookies, named as
    it named them. Empty where there is none.

    A name with a promising prefix is believed only where the browser was held to the
    promise, under `__Secure-`.
    """
    own = mark(session)
    secure = b"__Secure-" + own
    found = []
    for value in values:
        for pair in value.split(b";"):
            name, _, content = pair.strip(_BLANK).partition(b"=")
            if name.startswith(own):
                name, held = name[len(own) :], False
            elif name.startswith(secure):
                name, held = name[len(secure) :], True
            else:
                continue
            foreign = _JOINED.search(content)
            if foreign is not None:
                content = content[: foreign.start()]
            content = content.replace(b"%2C", b",").replace(b"%25", b"%")
            if bool(_promises(name or content)) is held:
                found.append(name + b"=" + content if name else content)
    return b"; ".join(found)


def _without_comma(content: bytes) -> bytes:
    """So spelled that a comma can only be a server's, which joined two fields."""
    return content.replace(b"%", b"%25").replace(b",", b"%2C")


# rfc6265bis §4.1.3, and `__Http-`, which asks for HttpOnly as well. Case does not
# matter, to browsers.
_PREFIXES: tuple[tuple[bytes, frozenset[bytes]], ...] = (
    (b"__host-http-", frozenset({b"secure", b"httponly", b"host"})),
    (b"__host-", frozenset({b"secure", b"host"})),
    (b"__http-", frozenset({b"secure", b"httponly"})),
    (b"__secure-", frozenset({b"secure"})),
)
_NOTHING: frozenset[bytes] = frozenset()


def _promises(name: bytes) -> frozenset[bytes]:
    """What a cookie's name promises by its prefix."""
    if name.startswith(b"__"):
        lowered = name.lower()
        for prefix, promises in _PREFIXES:
            if lowered.startswith(prefix):
                return promises
    return _NOTHING


def _kept_promises(promises: frozenset[bytes], said: dict[bytes, bytes]) -> bool:
    """Whether the attributes say what the name promises."""
    if b"host" in promises and (said.get(b"domain") or said.get(b"path") != b"/"):
        return False
    return promises - {b"host"} <= said.keys()


def _public_path(path: bytes, session: Session, route: Route) -> bytes | None:
    """A path of the session as the client knows it, always below the session's own;
    None for one that the session does not answer.

    The whole session is its public path with a slash: without one it is the host
    application's. None said means the directory of the request (RFC 6265 §5.1.4).
    """
    public, base = route.public, session.base_path
    if not path.startswith(b"/"):
        target = route.target or b"/"
        path = b"/" if b";" in target else target[: target.rindex(b"/")]
    elif _within(path, public):
        path = path[len(public) :]
    elif _within(base, path):
        path = b"/"
    elif base:
        if not _within(path, base):
            return None
        path = path[len(base) :]
    return public + (path or b"/")


def _within(path: bytes, outer: bytes) -> bool:
    """Whether `path` is `outer` or below it (RFC 6265 §5.1.4, path-match)."""
    return path == outer or path.startswith(outer.rstrip(b"/") + b"/")
