"""HTTP/1.1 as a client, without I/O: encode a request, parse responses.

The grammar is llhttp's, in its strict mode; what is added here is what a proxy must
know beyond one message: whether the connection may carry another, whether bytes came
that nobody asked for, and whether an end of stream is an end or a truncation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ..errors import MalformedHeaders
from ..models import Block, Field, Headers, Outbound
from ..rules.headers import section_size
from ..rules.learnt import keep

MAX_HEAD_BYTES = 65_536
"""Status line and fields of one response, with the interim ones before it; and what
stands between two bytes of its body, or after the last."""

MAX_HEAD_FIELDS = 200

_NAME = itemgetter(0)
_ENCODING = b"transfer-encoding"
_FRAMING = frozenset({b"content-length", _ENCODING})
LAST_CHUNK = b"0\r\n\r\n"
_END = b"\r\n\r\n"
_NUL, _LF, _CR = b"\0\n\r"
_SPLIT = "a control character that would split the request"

# RFC 9110 §9.2.1.
_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_NO_CONTENT = _SAFE | {b"DELETE"}


class ProtocolViolation(Exception):
    """The bytes are not a response to the request. Nothing after them can be
    trusted, so the connection must be closed."""


class Truncated(Exception):
    """The stream ended before the message did."""


def head(outbound: Outbound, end: bytes = b"") -> bytes:
    """The request line and the fields, all but `framing`, which is the `end`.

    Raises:
        MalformedHeaders: a CR, LF or NUL inside a field or the target, which would
            make one request two (RFC 9112 §11.2).
    """
    target, request_id = outbound.target, outbound.request_id
    own = target + request_id
    # A number is found at once; for bytes Python first makes a TypeError.
    if _LF in own or _CR in own or _NUL in own:
        raise MalformedHeaders(_SPLIT)
    # Joined, which costs a third of formatting.
    parts = [outbound.method, b" ", target, b" HTTP/1.1\r\n"]
    for block in outbound.blocks:
        parts.append(block.encoded or _encoded(block))  # noqa: PERF401
    parts += (b"x-request-id: ", request_id, b"\r\n", end)
    return b"".join(parts)


def _encoded(block: Block) -> bytes:
    headers = block.fields
    encoded = b"".join([b"%b: %b\r\n" % field for field in headers])
    # Our own line ends and no others: counting costs less than looking at each.
    lines = len(headers)
    if (
        encoded.count(b"\n") != lines
        or encoded.count(b"\r") != lines
        or _NUL in encoded
    ):
        raise MalformedHeaders(_SPLIT)
    block.encoded = encoded
    return encoded


def framing(outbound: Outbound, length: int | None) -> bytes:
    """The last lines of the head: a body of `length` bytes, one in chunks where the
    length is not known, or none. Never both (RFC 9112 §6.2)."""
    if length is None:
        return b"transfer-encoding: chunked\r\n\r\n" if outbound.has_body else b"\r\n"
    if length == 0 and outbound.length is None and outbound.method in _NO_CONTENT:
        # HTTP/2 does not say beforehand that there is no body; now it is known.
        return b"\r\n"
    return b"content-length: %d\r\n\r\n" % length


def retryable(outbound: Outbound) -> bool:
    """Whether a request may be sent a second time, on a new connection, when a
    reused one was closed before the first byte of the response (RFC 9110 §9.2.2).
    One with a body is not: what was read of it cannot be read again."""
    return outbound.method in _SAFE and not outbound.has_body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 §7.1). `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# Heads remembered: how many at most, how long one may be, and how long the response
# behind it, in bytes.
_HEADS_KEPT = 1024
_HEAD_BYTES = 1024
_WHOLE_BYTES = 16_384
_HEADS: dict[bytes, tuple[int, tuple[Field, ...], int]] = {}
"""Heads of responses that came whole, byte for byte: what they were read as, and how
many bytes came behind them."""


class Message:
    """One response as it arrives.

    `head` is true once status and headers are final, `complete` once the body is
    whole; `pieces` holds body bytes that nobody has taken yet. The headers are a tuple
    where many responses share them: what is worked out from one holds for all.
    """

    status = 0
    headers: Sequence[Field] = ()
    head = False
    complete = False

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def take(self) -> bytes:
        """The body bytes that are there, in one piece."""
        data = b"".join(self.pieces)  # Of one it makes no copy.
        self.pieces = []
        return data


def _drop(field: Field) -> None:
    """Where trailer fields go."""


def _remember(head: bytes, message: Message, body: bytes) -> None:
    """A head that said by itself how long the body is, nothing before it and nothing
    behind: its bytes mean the same again."""
    lengths = [value for name, value in message.headers if name == b"content-length"]
    if (
        lengths == [b"%d" % len(body)]
        and len(head) <= _HEAD_BYTES
        # Read as that body, and not passed over: line ends behind a 204 are.
        and b"".join(message.pieces) == body
    ):
        read = message.status, tuple(message.headers), len(body)
        keep(_HEADS, head, read, _HEADS_KEPT)


class ResponseReader:
    """Parses the responses of one connection, one `begin` a request.

    `reusable` says, once the message is complete, whether the connection may carry
    another request.
    """

    __slots__ = (
        "_add",
        "_bodiless",
        "_feeding",
        "_fresh",
        "_head_bytes",
        "_interim",
        "_message",
        "_parser",
        "reusable",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._message = Message()
        self._message.complete = True
        self._add: Callable[[Field], None] = _drop
        self._bodiless = False
        self._interim = False
        self._head_bytes = 0
        self._feeding = 0
        self._fresh = False
        self.reusable = True

    @property
    def started(self) -> bool:
        """Whether anything of the response has come."""
        return not self._fresh

    def begin(self, message: Message, is_head: bool) -> None:
        """The next response goes into `message`. `is_head`: to a HEAD request, so
        it has no body whatever its fields say (RFC 9112 §6.3)."""
        self._message = message
        self._bodiless = is_head
        self._fresh = True

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what came.

        Raises:
            ProtocolViolation: it is not a response, or its head is too large. What
                comes after the response is whole does not raise: it only makes the
                connection not reusable.
        """
        if not self._fresh:
            self._parse(data)
            return
        self._fresh = self._interim = self.reusable = False
        self._head_bytes = 0
        size = len(data)
        if size > _WHOLE_BYTES or self._bodiless:
            self._parse(data)
            return
        data = bytes(data)
        head, _, body = data.partition(_END)
        known = _HEADS.get(head)
        message = self._message
        if known is not None and known[2] == len(body):
            # As the parser would read it, which it has done before.
            message.status, message.headers, _ = known
            message.pieces.append(body)
            message.head = message.complete = self.reusable = True
            return
        self._parse(data)
        if message.complete and self.reusable and body:
            _remember(head, message, body)

    def _parse(self, data: bytes | memoryview) -> None:
        message = self._message
        if message.complete:
            self.reusable = False
            return
        size = self._feeding = len(data)
        before = len(message.pieces) if message.head else -1
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise ProtocolViolation("a 101 that nobody asked for") from None
        except HttpParserError as error:
            self.reusable = False
            if not message.complete:
                raise ProtocolViolation(str(error.__context__ or error)) from error
        if not message.complete:
            if message.head and len(message.pieces) > before:
                self._head_bytes = 0
            else:
                # Chunk extensions and trailers too: none of it reaches the client,
                # so no length of the body bounds it (RFC 9112 §7.1.1).
                self._count(size)

    def eof(self, *, clean: bool = True) -> None:
        """The session closed its side; `clean` is false for a reset.

        Raises:
            Truncated: in the middle of a message. A body without a length and
                without chunks ends this way, and only such a one, and only cleanly.
        """
        self.reusable = False
        message = self._message
        if message.complete:
            return
        if (
            not clean
            or not message.head
            or any(name in _FRAMING for name, _ in message.headers)
        ):
            raise Truncated
        message.complete = True

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ProtocolViolation("too much that is no body")

    # What llhttp calls, in order. An exception in one ends the parsing.

    def on_message_begin(self) -> None:
        message = self._message
        if message.complete:
            raise ProtocolViolation("bytes after the response")
        headers: Headers = []
        message.headers = headers
        self._add = headers.append

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves blanks after a value; they are none of it (RFC 9110 §5.5).
        self._add((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        message = self._message
        headers = message.headers
        if self._head_bytes + self._feeding > MAX_HEAD_BYTES:
            # Only then can it be too large: usually the body makes it so much.
            self._count(section_size(headers))
        if len(headers) > MAX_HEAD_FIELDS:
            raise ProtocolViolation("the response has too many header fields")
        if status < 200:
            if status < 100:
                raise ProtocolViolation(f"status {status}")
            self._interim = True
            # Status line and all: a flood of empty ones must end as well.
            self._count(section_size(headers) + 16)
            return
        if _ENCODING in map(_NAME, headers):
            codings = [value for name, value in headers if name == _ENCODING]
            if len(codings) > 1 or codings[0].lower() != b"chunked":
                raise ProtocolViolation("a transfer coding other than chunked")
        message.status = status
        message.head = True
        self._add = _drop  # After it comes a trailer: of this hop (RFC 9110 §6.5.1).
        if self._bodiless:
            # llhttp cannot be told that this was a HEAD request: it would wait for
            # the body that the length announces. So this parser is done with.
            message.complete = True
            self.reusable = self._persistent()
            self._parser = HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        message = self._message
        if self._interim or message.complete:
            raise ProtocolViolation("a body where none may be")
        message.pieces.append(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        message = self._message
        if not message.complete:
            message.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _persistent(self) -> bool:
        options = b",".join(
            value for name, value in self._message.headers if name == b"connection"
        ).lower()
        return self._parser.get_http_version() == "1.1" and b"close" not in options
