"""Which pages of other origins may call sessions, and read what they answer.

The proxy speaks for every session: it answers preflights itself, and the
`Access-Control-*` fields of every response are its own (Fetch, "CORS protocol").
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..models import Headers, Reply, Request
from ..options import CORS

OWNED = b"access-control-"
"""What the names of the fields begin with that are the proxy's alone."""

_ORIGIN = b"origin"
_ASKED_METHOD = b"access-control-request-method"
_ASKED_HEADERS = b"access-control-request-headers"
_NAMES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{1,4096}")
# A page can tell an answer of the proxy's from one of the session's, and name the
# request when it asks for help.
_ALWAYS_EXPOSED = ("X-Request-Id", "X-Session-Proxy-Error")


class CrossOrigin:
    """The option `cors`, prepared."""

    def __init__(self, cors: CORS) -> None:
        self._origins = frozenset(each.encode("ascii") for each in cors.allow_origins)
        self._any_origin = "*" in cors.allow_origins
        self._any_header = "*" in cors.allow_headers
        granted: Headers = []
        if cors.allow_credentials:
            granted.append((b"access-control-allow-credentials", b"true"))
        self._preflight: Headers = [
            *granted,
            (b"access-control-allow-methods", _list(cors.allow_methods)),
            (b"access-control-max-age", b"%d" % cors.max_age),
        ]
        if cors.allow_headers and not self._any_header:
            allowed = (b"access-control-allow-headers", _list(cors.allow_headers))
            self._preflight.append(allowed)
        exposed = dict.fromkeys((*_ALWAYS_EXPOSED, *cors.expose_headers))
        self._granted: Headers = [
            *granted,
            (b"access-control-expose-headers", _list(exposed)),
        ]

    def preflight(self, request: Request) -> Reply | None:
        """The answer to a preflight; None when the request is none.

        A page of an origin that is not allowed is told nothing. Access to a private
        network is never granted: that field is not answered.
        """
        if request.method != "OPTIONS" or not _values(request, _ASKED_METHOD):
            return None
        origins = _values(request, _ORIGIN)
        if not origins:
            return None
        headers: Headers = []
        origin = self._allowed(origins)
        if origin is not None:
            headers = [(b"access-control-allow-origin", origin), *self._preflight]
            asked = b", ".join(_values(request, _ASKED_HEADERS))
            if self._any_header and _NAMES.fullmatch(asked):
                headers.append((b"access-control-allow-headers", asked))
        vary = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        headers += [(b"vary", vary), (b"x-request-id", request.id)]
        return Reply(204, headers, b"")

    def grant(self, headers: Headers, request: Request) -> None:
        """Add what lets the page read the answer, where its origin is allowed.

        What is answered differs by origin, and caches are told so also where the
        request has none (Fetch, "CORS protocol and HTTP caches").
        """
        if self._any_origin:
            headers.append((b"access-control-allow-origin", b"*"))
            headers += self._granted
            return
        headers.append((b"vary", b"Origin"))
        origin = self._allowed(_values(request, _ORIGIN))
        if origin is not None:
            headers.append((b"access-control-allow-origin", origin))
            headers += self._granted

    def _allowed(self, origins: list[bytes]) -> bytes | None:
        if self._any_origin:
            return b"*"
        if len(origins) == 1 and origins[0] in self._origins:
            return origins[0]
        return None


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def _list(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode("ascii")
