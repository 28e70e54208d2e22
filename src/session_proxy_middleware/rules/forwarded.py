"""What the session is told of the client: `X-Forwarded-*` and RFC 7239."""

from __future__ import annotations

from ..errors import ConfigError
from ..models import Field, Headers, Request, Route
from .headers import RequestFields

MODES = ("set", "append", "off")


_SCHEMES = {
    scheme: (b"x-forwarded-proto", scheme.encode()) for scheme in ("http", "https")
}


def checked(mode: str) -> str:
    """The option `forwarded`, checked. Raises `ConfigError`."""
    if mode not in MODES:
        raise ConfigError(f"forwarded must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def told(request: Request, fields: RequestFields) -> Headers:
    """Ours alone, from what the server says of client, scheme and host: with `set`,
    and with `append` where the client sent none. With `off` there are none at all,
    neither ours nor the client's (CVE-2022-32148)."""
    scheme = request.scheme
    added: Headers = [_SCHEMES.get(scheme) or (b"x-forwarded-proto", scheme.encode())]
    if request.client is not None:
        added.append((b"x-forwarded-for", request.client.encode()))
    if fields.host is not None:
        added.append((b"x-forwarded-host", fields.host))
    return added


def prefix(route: Route) -> Field:
    """Where the session is mounted, as the client sees it; beside `told`."""
    return (b"x-forwarded-prefix", route.public)


def extended(request: Request, fields: RequestFields) -> Headers:
    """The client's own, each extended by ours: with `append`, for use behind a front
    proxy of one's own. Instead of `told` and `prefix`."""
    host = fields.host
    theirs: dict[bytes, bytes] = {}
    for name, value in fields.forwarded:
        theirs[name] = theirs[name] + b", " + value if name in theirs else value
    for name, value in [*told(request, fields), prefix(request.route)]:
        if name == b"x-forwarded-for" and name in theirs:
            theirs[name] = _with_client(theirs[name], value)
        elif name == b"x-forwarded-prefix" and name in theirs:
            theirs[name] = theirs[name].rstrip(b"/") + value
        else:
            theirs.setdefault(name, value)
    if b"forwarded" in theirs:
        theirs[b"forwarded"] += b", " + _element(request, host)
    return list(theirs.items())


def _with_client(theirs: bytes, client: bytes) -> bytes:
    """The list with the client at its end, once: a server that believes the field
    itself tells the last address of it as the client's."""
    last = theirs.rpartition(b",")[2].strip()
    return theirs if last == client else theirs + b", " + client


def _element(request: Request, host: bytes | None) -> bytes:
    """One element of `Forwarded` (RFC 7239 §4); an IPv6 address stands quoted and in
    brackets (§6)."""
    client = request.client or "unknown"
    node = f'"[{client}]"' if ":" in client else client
    element = f"for={node};proto={request.scheme}".encode()
    if host is not None:
        element += b';host="' + host.replace(b'"', b"") + b'"'
    return element
