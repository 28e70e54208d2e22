"""What the admin API answers beside the errors of the proxy.

An `AdminError` says what is wrong: its text reaches the caller, who has an admin key.
"""

from __future__ import annotations

import json

from ..errors import InternalError, ProxyError, Unauthenticated, described
from ..models import Field, Reply


class Misplaced(InternalError):
    """The admin API is mounted where the public calls sessions. The log is told once,
    by whoever raises it."""


class NoAdminKey(Unauthenticated):
    """No bearer token was presented."""

    fields = ((b"www-authenticate", b'Bearer realm="session-proxy-admin"'),)


class WrongAdminKey(NoAdminKey):
    """A token that is no admin key, or one that is a public key as well."""

    fields = (
        (
            b"www-authenticate",
            b'Bearer realm="session-proxy-admin", error="invalid_token"',
        ),
    )


class PathNotFound(ProxyError):
    """No operation has this path."""

    status = 404
    code = "404"
    sentence = "Not found"
    slug = "not_found"


class KeyNotFound(ProxyError):
    """No key has this id."""

    status = 404
    code = "404"
    sentence = "Key not found"
    slug = "key_not_found"


class AdminError(ProxyError):
    """An answer that says in its own words what is wrong, with fields of its own."""

    def __init__(self, sentence: str, *fields: Field) -> None:
        super().__init__(sentence)
        self._more = fields

    def reply(self, request_id: bytes, *, head: bool, strict: bool) -> Reply:
        """See `ProxyError.reply`."""
        body = json.dumps({"error": str(self), "code": self.code}).encode()
        headers = [*described(body, self.slug), *self._more]
        headers.append((b"x-request-id", request_id))
        return Reply(self.status, headers, b"" if head else body)


class OperationNotAllowed(AdminError):
    """The path has operations, and none of this method."""

    status = 405
    code = "405"
    slug = "method_not_allowed"


class InvalidRequest(AdminError):
    """A body or query that is not what the operation takes; names the wrong member."""

    status = 400
    code = "SP-400-REQUEST"
    slug = "invalid_request"


class Conflict(AdminError):
    """The state of things forbids it."""

    status = 409
    code = "SP-409-CONFLICT"
    slug = "conflict"


class UnsupportedMediaType(AdminError):
    """A body that is not declared to be JSON. Browsers send such across origins
    without asking anybody."""

    status = 415
    code = "SP-415-TYPE"
    slug = "unsupported_media_type"
