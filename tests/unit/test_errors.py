"""The error contract, row by row."""

from __future__ import annotations

import json

import pytest

from session_proxy_middleware import errors
from session_proxy_middleware.errors import ProxyError

BEARER = 'Bearer realm="session-proxy"'
INTERNAL = (
    "Internal server error. Please check logs for more information or contact support."
)
NOT_READY = (
    "Attempt to start agent when deployment is not in ready state. "
    "Is your image pull secret valid?"
)
UNREACHABLE = "The session could not be reached"
SILENT = "The session did not answer in time"
AWAY = "Service temporarily unavailable"
EXPIRED = "Unauthorized / token expired"
SCOPE = "This key may not use this method or path"
METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD"
SLOW = "The request was not completed in time"
FIELDS = "Request header fields too large"
WEBSOCKET = "WebSocket needs the ASGI deployment"

Row = tuple[str, int, str, str, str, dict[str, str]]
ROWS: list[Row] = [
    ("Unauthenticated", 401, "401", EXPIRED, "unauthenticated",
     {"www-authenticate": BEARER}),
    ("InvalidCredential", 401, "401", EXPIRED, "unauthenticated",
     {"www-authenticate": BEARER + ', error="invalid_token"'}),
    ("ServiceNotFound", 404, "404", "Service not found", "service_not_found", {}),
    ("SessionNotFound", 404, "404", "Session not found", "session_not_found", {}),
    ("Forbidden", 403, "SP-403-SCOPE", SCOPE, "forbidden", {}),
    ("ServiceNotReady", 400, "PCC-1001", NOT_READY, "service_not_ready", {}),
    ("MalformedPath", 400, "SP-400-PATH", "Malformed request path",
     "malformed_path", {}),
    ("MalformedHeaders", 400, "SP-400-HEADER", "Malformed request headers",
     "malformed_headers", {}),
    ("ReservedPath", 404, "404", "Not found", "reserved_path", {}),
    ("MethodNotAllowed", 405, "405", "Method not allowed", "method_not_allowed",
     {"allow": METHODS}),
    ("UpstreamUnreachable", 502, "SP-502-UPSTREAM", UNREACHABLE,
     "upstream_unreachable", {}),
    ("ConnectFailed", 502, "SP-502-UPSTREAM", UNREACHABLE,
     "upstream_unreachable", {}),
    ("UpstreamProtocolError", 502, "SP-502-UPSTREAM", UNREACHABLE,
     "upstream_protocol", {}),
    ("ConnectTimeout", 504, "SP-504-UPSTREAM", SILENT, "upstream_timeout", {}),
    ("UpstreamTimeout", 504, "SP-504-UPSTREAM", SILENT, "upstream_timeout", {}),
    ("RequestTimeout", 408, "SP-408-REQUEST", SLOW, "request_timeout", {}),
    ("BodyTooLarge", 413, "SP-413-BODY", "Request body too large",
     "body_too_large", {}),
    ("TooManyRequests", 429, "SP-429-CONCURRENCY", "Too many concurrent requests",
     "too_many_requests", {"retry-after": "1"}),
    ("HeadersTooLarge", 431, "SP-431-HEADERS", FIELDS, "headers_too_large", {}),
    ("Overloaded", 503, "SP-503-UNAVAILABLE", AWAY, "overloaded",
     {"retry-after": "1"}),
    ("SessionStarting", 503, "SP-503-STARTING", "The session is starting",
     "session_starting", {"retry-after": "1"}),
    ("Draining", 503, "SP-503-UNAVAILABLE", AWAY, "draining", {"retry-after": "1"}),
    ("StoreUnavailable", 503, "SP-503-UNAVAILABLE", AWAY, "store_unavailable",
     {"retry-after": "1"}),
    ("WebSocketUnsupported", 501, "SP-501-WEBSOCKET", WEBSOCKET,
     "websocket_unsupported", {}),
    ("LoopDetected", 508, "SP-508-LOOP", "The request goes in circles",
     "loop_detected", {}),
    ("InternalError", 500, "500", INTERNAL, "internal_error", {}),
]  # fmt: skip


def error(name: str) -> ProxyError:
    kind = getattr(errors, name)
    found = kind("detail at 10.9.9.9")
    assert isinstance(found, ProxyError)
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_an_answer_is_the_row_of_the_table(row: Row) -> None:
    name, status, code, sentence, slug, fields = row
    reply = error(name).reply(b"id-1", head=False, strict=False)
    assert reply.body is not None
    headers = {key.decode(): value.decode() for key, value in reply.headers}
    assert (reply.status, json.loads(reply.body)) == (
        status,
        {"error": sentence, "code": code},
    )
    assert len(headers) == len(reply.headers)
    assert headers == {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "x-session-proxy-error": slug,
        "x-request-id": "id-1",
        **fields,
    }


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_an_answer_to_head_has_the_fields_without_the_body(row: Row) -> None:
    full = error(row[0]).reply(b"1", head=False, strict=False)
    head = error(row[0]).reply(b"1", head=True, strict=False)
    assert (head.status, head.headers, head.body) == (full.status, full.headers, b"")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_strict_knows_only_the_published_answers(row: Row) -> None:
    name, status, code, sentence, slug, _ = row
    if status in (501, 502, 503, 504, 508):
        status, code, sentence = 500, "500", INTERNAL
    reply = error(name).reply(b"1", head=False, strict=True)
    assert reply.body is not None
    assert json.loads(reply.body) == {"error": sentence, "code": code}
    headers = dict(reply.headers)
    assert reply.status == status
    assert headers[b"x-session-proxy-error"] == slug.encode()
    assert headers[b"content-length"] == str(len(reply.body)).encode()


def test_one_reply_does_not_share_its_headers_with_the_next() -> None:
    first = error("Forbidden").reply(b"1", head=False, strict=False)
    first.headers.append((b"x", b"y"))
    second = error("Forbidden").reply(b"1", head=False, strict=False)
    assert (b"x", b"y") not in second.headers


def test_every_class_of_the_family_has_its_row() -> None:
    def family(kind: type[ProxyError]) -> set[str]:
        below = kind.__subclasses__()
        return {each.__name__ for each in below}.union(*map(family, below))

    ours = {name for name in family(ProxyError) if hasattr(errors, name)}
    assert ours - {"Unavailable"} == {row[0] for row in ROWS}


def test_an_error_of_the_hosts_own_is_answered_by_its_own_class() -> None:
    class Teapot(ProxyError):
        status = 418
        code = "SP-418"
        sentence = "Short and stout"
        slug = "teapot"

    reply = Teapot().reply(b"1", head=False, strict=True)
    assert reply.status == 418
    assert reply.body == b'{"error": "Short and stout", "code": "SP-418"}'


def test_a_bare_proxy_error_is_answered_too() -> None:
    assert ProxyError("x").reply(b"1", head=False, strict=False).status == 500


def test_a_truncation_keeps_its_reason() -> None:
    truncated = errors.ResponseTruncated("upstream_idle", "the detail")
    assert (truncated.reason, str(truncated)) == ("upstream_idle", "the detail")
