"""Which header fields survive this hop, in one pass over them.

Each name is classified once and remembered, in a memo that cannot grow without
bound; the pass itself is one dict look-up a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import HeadersTooLarge, MalformedHeaders
from ..models import Block, Field, Headers, Request
from . import cookies
from .learnt import Learnt, keep

# RFC 9110 §7.6.1 and RFC 9112 §7: fields that belong to one connection.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:~+/=@-]{1,200}")
_LENGTH = re.compile(rb"[0-9]{1,19}")
# RFC 9110 §5.5: no value has them. Most servers refuse them, cheroot and werkzeug's
# hand them on; what one recipient takes for a line's end is another's text.
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})

# Header sections remembered: how many at most, and how large one may be. In memory a
# field takes some hundred bytes beside its own.
_KNOWN = 1024
_KNOWN_BYTES = 4096
_KNOWN_FIELDS = 64

(
    KEEP,
    MALFORMED,
    CONNECTION,
    UPGRADE,
    AUTHORIZATION,
    HOST,
    LENGTH,
    ENCODING,
    ID,
    FORWARDED,
    COOKIE,
    VIA,
    # From here on they are dropped and mean nothing to the proxy either.
    HOP,
    EXPECT,
    PLATFORM,
    ALIAS,
    NO_COOKIE,
) = range(17)
DROPPED = HOP
_SPECIAL = {
    b"authorization": AUTHORIZATION,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"expect": EXPECT,
    b"forwarded": FORWARDED,
    b"host": HOST,
    b"transfer-encoding": ENCODING,
    b"upgrade": UPGRADE,
    b"via": VIA,
    b"x-request-id": ID,
}
_COOKIE_ACTIONS = {"isolate": COOKIE, "drop": NO_COOKIE, "forward": KEEP}
# Fields whose `_` spelling a CGI-like session would take for the real one
# (CVE-2025-64484, CVE-2026-52845).
_NO_ALIAS = frozenset(
    {AUTHORIZATION, HOP, EXPECT, PLATFORM, FORWARDED, HOST, ID, LENGTH, ENCODING}
)

Framing = tuple[bool, int | None]
"""Whether a body follows, and its length where that is known."""

NO_BODY: Framing = (False, None)

_NONE: frozenset[bytes] = frozenset()


def request_id(fields: Sequence[bytes]) -> bytes | None:
    """The client's own request id, when it sent one that is fit to pass on."""
    if len(fields) != 1 or not _REQUEST_ID.fullmatch(fields[0]):
        return None
    return fields[0]


def section_size(fields: Iterable[Field]) -> int:
    """Bytes of names and values."""
    return sum(len(name) + len(value) for name, value in fields)


class RequestFields:
    """A request's header fields, told apart.

    Requests with equal fields share one of these, so what is worked out from them
    alone is kept here: `digest` by `rules.credential`, `told` by `rules.forwarding`.
    """

    __slots__ = (
        "_framing",
        "all",
        "authorization",
        "cookies",
        "digest",
        "encodings",
        "forwarded",
        "host",
        "kept",
        "lengths",
        "named",
        "pinned",
        "repeated",
        "request_ids",
        "told",
        "upgrade",
        "via",
    )

    def __init__(self) -> None:
        self.all: Headers | None = None
        """Every field as it came, where requests with equal ones share this."""
        self.repeated = False
        """Whether more than one request had them."""
        self.pinned = False
        """Whether some path remembers a request that had them."""
        self.kept: Headers = []
        self.authorization: tuple[bytes, ...] = ()
        self.cookies: tuple[bytes, ...] = ()
        self.host: bytes | None = None
        self.lengths: tuple[bytes, ...] = ()
        self.encodings: tuple[bytes, ...] = ()
        self.request_ids: tuple[bytes, ...] = ()
        self.forwarded: tuple[Field, ...] = ()
        self.named: frozenset[bytes] = _NONE
        self.upgrade: tuple[bytes, ...] = ()
        self.via: tuple[bytes, ...] = ()
        self.digest: bytes | None = None
        self.told: tuple[tuple[str | None, str, str], Block] | None = None
        self._framing: Framing | None = None

    def request_id(self) -> bytes | None:
        """The client's own request id, when it sent one that is fit to pass on."""
        return request_id(self.request_ids)

    def framing(self, http_version: str) -> Framing:
        """Whether a body follows, and its length where that is declared.

        Raises:
            MalformedHeaders: lengths that disagree or are none, a length beside a
                transfer coding, or a coding other than `chunked` (RFC 9112 §6.1,
                §6.3): what one server forgives another reads differently.
        """
        if http_version != "1.1":
            return self._framed(http_version)
        if self._framing is None:
            self._framing = self._framed(http_version)
        return self._framing

    def _framed(self, http_version: str) -> Framing:
        if self.encodings:
            if len(self.encodings) > 1 or self.encodings[0].lower() != b"chunked":
                raise MalformedHeaders("a transfer coding other than chunked")
            if self.lengths:
                raise MalformedHeaders("Content-Length beside Transfer-Encoding")
            if http_version != "1.1":
                raise MalformedHeaders("Transfer-Encoding is of HTTP/1.1 alone")
            return True, None
        if self.lengths:
            if len(self.lengths) > 1 or not _LENGTH.fullmatch(self.lengths[0]):
                raise MalformedHeaders("Content-Length is not one number")
            length = int(self.lengths[0])
            return length > 0, length
        # HTTP/2 and later frame bodies without a header field.
        return (True, None) if http_version[0] not in "01" else NO_BODY


class HeaderRules:
    """Sorts the fields of requests and of responses.

    `platform` is the name of the field that only the platform may set, like
    `x-daily-session-id`; `cookies` what to do with `Cookie` (see `rules.cookies`).
    """

    def __init__(
        self, *, platform: bytes, max_fields: int, max_bytes: int, cookies: str
    ) -> None:
        self._max_fields = max_fields
        self._max_bytes = max_bytes
        self._actions = _Actions(platform, _COOKIE_ACTIONS[cookies])
        self._known: dict[tuple[Field, ...], RequestFields] = {}

    def action(self, name: bytes) -> int:
        """What is done with a field of this name: one of the numbers above."""
        return self._actions[name]

    def sift(self, request: Request) -> RequestFields:
        """One pass over a request's fields, unless ones like them came before.

        A client sends the same fields again and again, which is what HPACK lives on
        (RFC 7541); what they mean never changes.

        Raises:
            HeadersTooLarge: over the limits, told before anything else is looked at
                (CVE-2025-14550).
            MalformedHeaders: a name that is not a token, a control in a value, or a
                second Host (RFC 9112 §3.2), also one that the server joined to the
                first.
        """
        headers = request.headers
        if len(headers) > self._max_fields:
            raise HeadersTooLarge(f"{len(headers)} fields")
        try:
            known = self._known.get(key := tuple(headers))
        except TypeError:  # Some servers make lists of them, which have no hash.
            known = self._known.get(key := tuple((name, at) for name, at in headers))
        if known is not None:
            known.repeated = True
            return known
        fields, size = self._sifted(key)
        if size <= _KNOWN_BYTES and len(key) <= _KNOWN_FIELDS:
            keep(self._known, key, fields, _KNOWN)
            fields.all = list(key)
        return fields

    def _sifted(self, headers: tuple[Field, ...]) -> tuple[RequestFields, int]:
        actions = self._actions
        fields = RequestFields()
        kept: Headers = []
        size = 0
        for field in headers:
            name, value = field
            size += len(name) + len(value)
            action = actions[name]
            if action is KEEP:
                kept.append(field)
            elif action is AUTHORIZATION:
                fields.authorization += (value,)
            elif action is HOST:
                if fields.host is not None or b"," in value:
                    raise MalformedHeaders("more than one Host field")
                fields.host = value
            elif action is VIA:
                kept.append(field)
                fields.via += (value,)
            elif action < DROPPED:
                self._set_aside(fields, action, name, value)
        if size > self._max_bytes:
            raise HeadersTooLarge(f"{size} bytes")
        values = b"".join([value for _, value in headers])
        if len(values.translate(None, _CONTROLS)) != len(values):
            raise MalformedHeaders("a control in a field value")
        if fields.named:
            kept = [each for each in kept if each[0] not in fields.named]
            if b"cookie" in fields.named:
                fields.cookies = ()
        fields.kept = kept
        return fields, size

    def _set_aside(
        self, fields: RequestFields, action: int, name: bytes, value: bytes
    ) -> None:
        if action is CONNECTION:
            # Removed before our own are added, or "Connection: x-forwarded-for"
            # would delete those (CVE-2024-45410).
            fields.named |= named_by([value])
        elif action is LENGTH:
            fields.lengths += (value,)
        elif action is ENCODING:
            fields.encodings += (value,)
        elif action is ID:
            fields.request_ids += (value,)
        elif action is UPGRADE:
            fields.upgrade += (value.strip().lower(),)
        elif action is COOKIE:
            # Without the mark there is none that a session would get.
            if cookies.MARK in value:
                fields.cookies += (value,)
        elif action is FORWARDED:
            fields.forwarded += ((name, value),)
        else:
            raise MalformedHeaders("a field name that is not a token")


class _Actions(Learnt):
    """What to do with a field, by its name."""

    def __init__(self, platform: bytes, cookie: int) -> None:
        super().__init__()
        self._platform = platform
        self._special = {**_SPECIAL, b"cookie": cookie}

    def find(self, name: bytes) -> int:
        """See `Learnt`."""
        if _TOKEN.fullmatch(name) is None:
            return MALFORMED
        name = name.lower()
        action = self._classify_plain(name)
        if action is KEEP and b"_" in name:
            alias = self._classify_plain(name.replace(b"_", b"-"))
            return ALIAS if alias in _NO_ALIAS else KEEP
        return action

    def _classify_plain(self, name: bytes) -> int:
        if name in self._special:
            return self._special[name]
        if name.startswith(b"x-forwarded-"):
            return FORWARDED
        if name in HOP_BY_HOP:
            return HOP
        if name == self._platform or name.startswith(
            (b"x-daily-", b"x-session-proxy-")
        ):
            return PLATFORM
        return KEEP


def named_by(values: Iterable[bytes]) -> frozenset[bytes]:
    """The end-to-end fields that Connection values name (RFC 9110 §7.6.1)."""
    names = {option.strip().lower() for value in values for option in value.split(b",")}
    return frozenset(names - HOP_BY_HOP - {b"", b"close"})
