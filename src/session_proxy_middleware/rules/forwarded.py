"""What the session is told of the client: `X-Forwarded-*` and RFC 7239."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..models import Field, Headers, Request

MODES = ("set", "append", "off")


_SCHEMES = {
    scheme: (b"x-forwarded-proto", scheme.encode()) for scheme in ("http", "https")
}


def checked(mode: str) -> str:
    """The option `forwarded`, checked. Raises `ConfigError`."""
    if mode not in MODES:
        raise ConfigError(f"forwarded must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def forwarded(
    mode: str, request: Request, host: bytes | None, received: Sequence[Field]
) -> Headers:
    """The fields to add. `received` are the client's own of these names.

    - `set`: ours alone, from what the server says of client, scheme and host.
    - `append`: the client's are kept and extended, for use behind a front proxy
      of one's own.

    With `off` there are none at all, neither ours nor the client's (CVE-2022-32148),
    and this is not called.
    """
    client = request.client
    scheme = request.scheme
    added: Headers = [
        _SCHEMES.get(scheme) or (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-prefix", request.route.public),
    ]
    if client is not None:
        added.append((b"x-forwarded-for", client.encode()))
    if host is not None:
        added.append((b"x-forwarded-host", host))
    if mode == "set" or not received:
        return added
    return _extended(added, received, request, host)


def _extended(
    added: Headers, received: Sequence[Field], request: Request, host: bytes | None
) -> Headers:
    theirs: dict[bytes, bytes] = {}
    for name, value in received:
        theirs[name] = theirs[name] + b", " + value if name in theirs else value
    for name, value in added:
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
