"""Whether an authority in a reference is the session's own, however it is spelled.

Browsers read `127.1`, `0x7f.1`, `2130706433`, `%31%32%37.0.0.1` and full-width digits
as 127.0.0.1 (URL Standard, "host parsing"), so an address that was compared as text
alone would be shown to clients.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import unquote_to_bytes

from ..models import Origin

_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_PORT = re.compile(rb"(.*?)(?::([0-9]{0,5}))?", re.DOTALL)
_NUMBER = re.compile(r"(?:0x([0-9a-f]{0,64}))|(?:0([0-7]{1,64}))|([0-9]{1,64})")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
# What a server bound to all addresses may call itself; it is nobody else's address
# (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2).
_UNSPECIFIED = frozenset({"0.0.0.0", "::"})  # noqa: S104


def is_own(scheme: bytes | None, authority: bytes, origin: Origin) -> bool:
    """Whether `authority`, in a reference with that scheme or none, is where `origin`
    is. User information does not count, the port does."""
    authority = authority.rpartition(b"@")[2].lower()
    if authority == origin.authority.lower():
        return True
    found = _PORT.fullmatch(authority)
    if found is None or origin.scheme == "unix":
        return False
    host, digits = found.groups()
    own_scheme = origin.scheme.encode()
    port = int(digits) if digits else _DEFAULT_PORTS[(scheme or own_scheme).lower()]
    if port != origin.port:
        return False
    name, own = canonical(host), canonical(origin.host.encode("ascii"))
    if name in _THIS_MACHINE and own in _THIS_MACHINE:
        return True
    return name == own or name in _UNSPECIFIED


def canonical(host: bytes) -> str:
    """A host as browsers understand it: one spelling of each address."""
    text = unquote_to_bytes(host).decode("utf-8", "replace")
    text = unicodedata.normalize("NFKC", text).replace("\u3002", ".").lower()
    if text.startswith("["):
        try:
            address = IPv6Address(text.strip("[]").partition("%")[0])
        except ValueError:
            return text
        return str(address.ipv4_mapped or address)
    text = text.removesuffix(".")
    number = _ipv4(text.split("."))
    if number is not None:
        return str(IPv4Address(number))
    return text


def _ipv4(parts: list[str]) -> int | None:
    """The number that one to four parts make; the last fills what the others leave."""
    numbers = []
    for part in parts:
        found = _NUMBER.fullmatch(part)
        if found is None:
            return None
        hexadecimal, octal, decimal = found.groups()
        if decimal is not None:
            numbers.append(int(decimal))
        else:
            numbers.append(int(octal or hexadecimal or "0", 8 if octal else 16))
    *first, last = numbers
    room = 4 - len(first)
    if room < 1 or last >= 256**room or any(each > 255 for each in first):
        return None
    for place, each in enumerate(first):
        last += each << (8 * (3 - place))
    return last
