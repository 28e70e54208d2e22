"""DESIGN.md section 4 as values, written out: not imported from what is tested."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .wire import Message

INTERNAL = (
    b"Internal server error. Please check logs for more information or contact support."
)
_SECRETS = re.compile(rb"secret|10\.9\.8\.7|pk_|Traceback|Error\b|127\.0\.0\.1", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    status: int
    code: bytes
    error: bytes
    slug: bytes
    more: dict[str, bytes] = field(default_factory=dict)

    @property
    def strictly(self) -> Row:
        """What clients of the published list get for it."""
        if self.status not in (501, 502, 503, 504, 508):
            return self
        return Row(
            status=500, code=b"500", error=INTERNAL, slug=self.slug, more=self.more
        )


_BEARER = b'Bearer realm="session-proxy"'
_RETRY = {"Retry-After": b"1"}
_UNAUTHORIZED = b"Unauthorized / token expired"
_UNREACHABLE = b"The session could not be reached"
_UNAVAILABLE = b"Service temporarily unavailable"


def _row(status: int, code: bytes, error: bytes, slug: bytes, **more: bytes) -> Row:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return Row(status=status, code=code, error=error, slug=slug, more=named)


NO_CREDENTIAL = _row(
    401, b"401", _UNAUTHORIZED, b"unauthenticated", WWW_Authenticate=_BEARER
)
WRONG_CREDENTIAL = _row(
    401,
    b"401",
    _UNAUTHORIZED,
    b"unauthenticated",
    WWW_Authenticate=_BEARER + b', error="invalid_token"',
)
SERVICE_NOT_FOUND = _row(404, b"404", b"Service not found", b"service_not_found")
SESSION_NOT_FOUND = _row(404, b"404", b"Session not found", b"session_not_found")
FORBIDDEN = _row(
    403, b"SP-403-SCOPE", b"This key may not use this method or path", b"forbidden"
)
NOT_READY = _row(
    400,
    b"PCC-1001",
    b"Attempt to start agent when deployment is not in ready state. "
    b"Is your image pull secret valid?",
    b"service_not_ready",
)
MALFORMED_PATH = _row(400, b"SP-400-PATH", b"Malformed request path", b"malformed_path")
MALFORMED_HEADERS = _row(
    400, b"SP-400-HEADER", b"Malformed request headers", b"malformed_headers"
)
RESERVED_PATH = _row(404, b"404", b"Not found", b"reserved_path")
METHOD_NOT_ALLOWED = _row(
    405,
    b"405",
    b"Method not allowed",
    b"method_not_allowed",
    Allow=b"GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD",
)
UNREACHABLE = _row(502, b"SP-502-UPSTREAM", _UNREACHABLE, b"upstream_unreachable")
PROTOCOL = _row(502, b"SP-502-UPSTREAM", _UNREACHABLE, b"upstream_protocol")
TIMEOUT = _row(
    504, b"SP-504-UPSTREAM", b"The session did not answer in time", b"upstream_timeout"
)
STALLED = _row(
    408,
    b"SP-408-REQUEST",
    b"The request was not completed in time",
    b"request_timeout",
)
BODY_TOO_LARGE = _row(413, b"SP-413-BODY", b"Request body too large", b"body_too_large")
TOO_MANY = _row(
    429,
    b"SP-429-CONCURRENCY",
    b"Too many concurrent requests",
    b"too_many_requests",
    Retry_After=b"1",
)
HEADERS_TOO_LARGE = _row(
    431, b"SP-431-HEADERS", b"Request header fields too large", b"headers_too_large"
)
OVERLOADED = _row(
    503, b"SP-503-UNAVAILABLE", _UNAVAILABLE, b"overloaded", Retry_After=b"1"
)
DRAINING = _row(503, b"SP-503-UNAVAILABLE", _UNAVAILABLE, b"draining", Retry_After=b"1")
STARTING = _row(
    503,
    b"SP-503-STARTING",
    b"The session is starting",
    b"session_starting",
    Retry_After=b"1",
)
STORE = _row(
    503, b"SP-503-UNAVAILABLE", _UNAVAILABLE, b"store_unavailable", Retry_After=b"1"
)
WEBSOCKET = _row(
    501,
    b"SP-501-WEBSOCKET",
    b"WebSocket needs the ASGI deployment",
    b"websocket_unsupported",
)
LOOP = _row(508, b"SP-508-LOOP", b"The request goes in circles", b"loop_detected")
BUG = _row(500, b"500", INTERNAL, b"internal_error")

_NAMES_AND_IDS = {b"x-request-id", b"access-control-expose-headers"}
_ONLY_SOME = ("WWW-Authenticate", "Allow", "Retry-After")


def check(answer: Message, row: Row, *, to: str = "GET") -> None:
    """The answer is exactly that row's: status, body, fields, nothing revealed."""
    assert answer.status == row.status, (answer.raw, answer.body)
    assert answer.one("X-Session-Proxy-Error") == row.slug, answer.raw
    body = b'{"error": "%b", "code": "%b"}' % (row.error, row.code)
    assert answer.one("Content-Type") == b"application/json"
    assert answer.one("X-Content-Type-Options") == b"nosniff"
    assert answer.one("Cache-Control") == b"no-store"
    assert answer.one("Content-Length") == b"%d" % len(body)
    assert re.fullmatch(rb"[A-Za-z0-9._:~+/=@-]{1,200}", answer.one("X-Request-Id"))
    for name in _ONLY_SOME:
        expected = [row.more[name]] if name in row.more else []
        assert answer.all(name) == expected, (name, answer.raw)
    assert answer.body == (b"" if to == "HEAD" else body)
    assert answer.end == "whole"
    assert answer.interim == []
    # Each server's own, if it says any.
    assert len(answer.all("Date")) <= 1
    assert len(answer.all("Server")) <= 1
    shown = b"\r\n".join(
        value for name, value in answer.headers if name.lower() not in _NAMES_AND_IDS
    )
    shown += answer.body.replace(b"pull secret", b"").replace(
        b"Internal server err", b""
    )
    found = _SECRETS.search(shown.replace(row.error, b"").replace(b'"error"', b""))
    assert found is None or found[0] == b"error", (found, shown)
