"""A session's reading of a connection, without forgiveness: RFC 9112 to the letter.

What a recording upstream got is parsed here, and whatever could be read in a second
way fails: a proxy that passes ambiguity on has smuggled already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .wire import Fields

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# §3: one space each, a target without whitespace or controls, one version.
_START = re.compile(rb"(%b) ([\x21-\x7e\x80-\xff]+) HTTP/1\.1" % _TOKEN)
# §5, and RFC 9110 §5.5: no space before the colon, no control but a tab.
_FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*" % _TOKEN)
_STATUS = re.compile(rb"HTTP/1\.1 [2-5][0-9][0-9] [\t\x20-\x7e\x80-\xff]*")
_FRAMINGS = (b"content-length", b"transfer-encoding")
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n")


@dataclass(slots=True)
class Arrived:
    """One request as it arrived."""

    method: bytes
    target: bytes
    headers: Fields
    body: bytes
    whole: bool
    """False when the connection ended inside it."""

    def all(self, name: str) -> list[bytes]:
        """Every value of a field."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]


def check_head(raw: bytes) -> None:
    """The head of a response, byte for byte: a status line, fields, one framing.

    Raises:
        AssertionError: a byte that RFC 9112 does not allow, or two framings.
    """
    line, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert _STATUS.fullmatch(line), line
    names = []
    for text in lines:
        field = _FIELD.fullmatch(text)
        assert field, text
        names.append(field[1].lower())
    framings = [each for each in names if each in _FRAMINGS]
    assert len(framings) <= 1, raw


def requests(received: bytes) -> list[Arrived]:
    """The requests in everything that came over one connection.

    Raises:
        AssertionError: a byte that RFC 9112 does not allow, or two framings.
    """
    found = []
    while received:
        each, received = _one(received)
        found.append(each)
    return found


def _one(received: bytes) -> tuple[Arrived, bytes]:
    head, end, rest = received.partition(b"\r\n\r\n")
    assert end, f"half a head: {head!r}"
    line, *lines = head.split(b"\r\n")
    start = _START.fullmatch(line)
    assert start, line
    headers: Fields = []
    for text in lines:
        field = _FIELD.fullmatch(text)
        assert field, text
        headers.append((field[1], field[2]))
    request = Arrived(start[1], start[2], headers, b"", True)
    lengths = request.all("content-length")
    codings = request.all("transfer-encoding")
    assert len(lengths) + len(codings) <= 1, head
    if codings:
        assert codings == [b"chunked"], head
        return request, _chunked(request, rest)
    length = 0
    if lengths:
        assert re.fullmatch(rb"[0-9]+", lengths[0]), head
        length = int(lengths[0])
    request.body = rest[:length]
    request.whole = len(request.body) == length
    return request, rest[length:]


def _chunked(request: Arrived, rest: bytes) -> bytes:
    while size := _CHUNK.match(rest):
        rest = rest[size.end() :]
        length = int(size[1], 16)
        if not length:
            assert rest.startswith(b"\r\n"), rest
            return rest[2:]
        request.body += rest[:length]
        after = rest[length : length + 2]
        assert b"\r\n".startswith(after), rest
        rest = rest[length + 2 :]
    assert not rest, rest
    request.whole = False
    return b""
