"""The error contract: one class a row of the table in README, "The contract".

`ConfigError` is for whoever mounts the proxy. `ProxyError` and what derives from
it become answers: status, code, sentence and slug are fixed per class, and the
exception's own text goes to the log alone, never to the client.

`ClientDisconnected` and `ResponseTruncated` have no answer: there is nobody left
to read one, or its head has already been sent.
"""

from __future__ import annotations

import json
from typing import ClassVar

from .models import Ending, Field, Headers, Reply

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
"""The seven methods of the contract."""

WEBSOCKET = "WEBSOCKET"
"""What a WebSocket has for a method: a key that is restricted to methods must name it.
A GET that becomes a shell is no GET (Kubernetes' `nodes/proxy`)."""

INTERNAL = (
    "Internal server error. Please check logs for more information or contact support."
)

_UNPUBLISHED = frozenset({501, 502, 503, 504, 508})


class ConfigError(ValueError):
    """An option is wrong. The text names the option and what is allowed."""


class SecretTaken(ConfigError):
    """The secret of a new key is the secret of another."""


class ClientDisconnected(Exception):
    """The client is gone. Logged as 499; nothing is answered.

    `ending` is what the driver knows of the request by then.
    """

    ending: Ending | None = None


SESSION_ENDED = "session_ended"
"""Why a response broke off whose session ended meanwhile."""


class ResponseTruncated(Exception):
    """The session's response broke off after its head was passed on.

    `reason` is the slug for the access record.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def described(body: bytes, slug: str | None = None) -> Headers:
    """The fields of an answer of our own in JSON; of an error with its slug."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if slug is not None:
        headers.append((b"x-session-proxy-error", slug.encode()))
    return headers


class ProxyError(Exception):
    """A request that ends with an answer of the proxy's own."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "500"
    sentence: ClassVar[str] = INTERNAL
    slug: ClassVar[str] = "internal_error"
    fields: ClassVar[tuple[Field, ...]] = ()
    prepared: ClassVar[dict[bool, tuple[int, bytes, Headers]]]

    def __init_subclass__(cls) -> None:
        cls.prepared = {strict: cls._prepare(strict) for strict in (False, True)}

    @classmethod
    def _prepare(cls, strict: bool) -> tuple[int, bytes, Headers]:
        status, code, sentence = cls.status, cls.code, cls.sentence
        if strict and status in _UNPUBLISHED:
            status, code, sentence = 500, "500", INTERNAL
        body = json.dumps({"error": sentence, "code": code}).encode()
        return status, body, [*described(body, cls.slug), *cls.fields]

    def reply(self, request_id: bytes, *, head: bool, strict: bool) -> Reply:
        """The answer: for HEAD the same headers and no body; `strict` answers 500
        where the published contract knows nothing finer (501 to 504, 508)."""
        status, body, headers = self.prepared[strict]
        fields = [*headers, (b"x-request-id", request_id)]
        reply = Reply(status, fields, b"" if head else body)
        reply.refusal = self
        return reply


# A hook may raise the family itself: it is answered like a bug.
ProxyError.prepared = {strict: ProxyError._prepare(strict) for strict in (False, True)}


class InternalError(ProxyError):
    """A bug in the proxy or in a hook."""


class Unauthenticated(ProxyError):
    """No credential was presented."""

    status = 401
    code = "401"
    sentence = "Unauthorized / token expired"
    slug = "unauthenticated"
    fields = ((b"www-authenticate", b'Bearer realm="session-proxy"'),)


class InvalidCredential(Unauthenticated):
    """A wrong, expired or revoked key, or more than one Authorization field.

    RFC 6750 §3.1: `invalid_token` is said only when a credential was presented.
    """

    fields = (
        (
            b"www-authenticate",
            b'Bearer realm="session-proxy", error="invalid_token"',
        ),
    )


class Forbidden(ProxyError):
    """The caller is known and may not do this."""

    status = 403
    code = "SP-403-SCOPE"
    sentence = "This key may not use this method or path"
    slug = "forbidden"


class OriginRefused(Forbidden):
    """A page of another origin would open a WebSocket with what its browser sends by
    itself, a cookie for one."""

    code = "SP-403-ORIGIN"
    sentence = "This origin may not open a WebSocket here"
    slug = "origin_refused"


class ServiceNotFound(ProxyError):
    """An unknown service, or one the caller's key is not for: the same bytes."""

    status = 404
    code = "404"
    sentence = "Service not found"
    slug = "service_not_found"


class SessionNotFound(ProxyError):
    """A malformed, unknown or ended session: the same bytes."""

    status = 404
    code = "404"
    sentence = "Session not found"
    slug = "session_not_found"


class Misdirected(SessionNotFound):
    """Another session is at the address, and its guard has refused the request: it was
    not processed."""


class ReservedPath(ProxyError):
    """A path of the session that only the platform may call."""

    status = 404
    code = "404"
    sentence = "Not found"
    slug = "reserved_path"


class NotFound(ProxyError):
    """No path of a session's, where there is no application behind the proxy."""

    status = 404
    code = "404"
    sentence = "Not found"
    slug = "not_found"


class ServiceNotReady(ProxyError):
    """The service is registered and not ready."""

    status = 400
    code = "PCC-1001"
    sentence = (
        "Attempt to start agent when deployment is not in ready state. "
        "Is your image pull secret valid?"
    )
    slug = "service_not_ready"


class MalformedPath(ProxyError):
    """A dot segment in any encoding, a NUL, a backslash, a control character."""

    status = 400
    code = "SP-400-PATH"
    sentence = "Malformed request path"
    slug = "malformed_path"


class MalformedHeaders(ProxyError):
    """More than one Host, conflicting framing, or a field that is not one."""

    status = 400
    code = "SP-400-HEADER"
    sentence = "Malformed request headers"
    slug = "malformed_headers"


class MethodNotAllowed(ProxyError):
    """A method that is not one of the seven."""

    status = 405
    code = "405"
    sentence = "Method not allowed"
    slug = "method_not_allowed"
    fields = ((b"allow", ", ".join(METHODS).encode()),)


class RequestTimeout(ProxyError):
    """The client stalled in the middle of its upload."""

    status = 408
    code = "SP-408-REQUEST"
    sentence = "The request was not completed in time"
    slug = "request_timeout"


class BodyTooLarge(ProxyError):
    """The request's body is over `Limits(body=...)`."""

    status = 413
    code = "SP-413-BODY"
    sentence = "Request body too large"
    slug = "body_too_large"


class TooManyRequests(ProxyError):
    """Too many requests in flight for the session or the key."""

    status = 429
    code = "SP-429-CONCURRENCY"
    sentence = "Too many concurrent requests"
    slug = "too_many_requests"
    fields = ((b"retry-after", b"1"),)


class HeadersTooLarge(ProxyError):
    """The request has too many header fields, or too large ones."""

    status = 431
    code = "SP-431-HEADERS"
    sentence = "Request header fields too large"
    slug = "headers_too_large"


class WebSocketUnsupported(ProxyError):
    """A WebSocket under WSGI."""

    status = 501
    code = "SP-501-WEBSOCKET"
    sentence = "WebSocket needs the ASGI deployment"
    slug = "websocket_unsupported"


class WebSocketNotInstalled(WebSocketUnsupported):
    """Under ASGI, without what the extra `[websocket]` installs."""

    sentence = "WebSocket is not installed on this deployment"


class UpstreamUnreachable(ProxyError):
    """The session reset or closed the connection before a byte of its response."""

    status = 502
    code = "SP-502-UPSTREAM"
    sentence = "The session could not be reached"
    slug = "upstream_unreachable"


class ConnectFailed(UpstreamUnreachable):
    """No connection could be made, so nothing was sent."""


class UpstreamProtocolError(UpstreamUnreachable):
    """What came back is not an HTTP response, or one with absurd headers."""

    slug = "upstream_protocol"


class UpstreamTimeout(ProxyError):
    """The session accepted the request and then stayed silent."""

    status = 504
    code = "SP-504-UPSTREAM"
    sentence = "The session did not answer in time"
    slug = "upstream_timeout"


class ConnectTimeout(UpstreamTimeout):
    """No connection came about in time, so nothing was sent."""


class LoopDetected(ProxyError):
    """The request has passed through this proxy too often (RFC 9110 §7.6.3)."""

    status = 508
    code = "SP-508-LOOP"
    sentence = "The request goes in circles"
    slug = "loop_detected"


class Unavailable(ProxyError):
    """The proxy cannot take this request now."""

    status = 503
    code = "SP-503-UNAVAILABLE"
    sentence = "Service temporarily unavailable"
    slug = "overloaded"
    fields = ((b"retry-after", b"1"),)


class Overloaded(Unavailable):
    """`Limits(total=...)` requests are in flight."""


class Draining(Unavailable):
    """The proxy, or the session, is shutting down and takes no new requests."""

    slug = "draining"


class SessionMoved(Unavailable):
    """The session is at another address, and of the body what has been read cannot be
    sent there. Nothing was processed: a second try will do."""

    slug = "session_moved"


class SessionStarting(Unavailable):
    """The session is starting, and has been waited for as long as is wanted."""

    code = "SP-503-STARTING"
    sentence = "The session is starting"
    slug = "session_starting"


class StoreUnavailable(Unavailable):
    """A registry, key store or authenticator failed. Hooks may raise it.

    `reported` says that the log has been told, once for all requests.
    """

    slug = "store_unavailable"

    def __init__(self, *details: object, reported: bool = False) -> None:
        super().__init__(*details)
        self.reported = reported
