"""Does this path belong to a session, and to which one?"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ..errors import ConfigError

# What a bot's own side agrees on stands where it needs nothing else.
from ..guard import UUID as UUID
from ..guard import canonical as canonical
from ..models import Route
from .learnt import keep

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_SLASH = re.compile("%2[Ff]")
# RFC 3986 §3.3: what a path may hold without being encoded.
_PATH_SAFE = "/-._~!$&'()*+,;=:@"


def requote(path: str) -> bytes:
    """A decoded path as it may stand in a request line."""
    return quote(path.encode("utf-8", "surrogateescape"), safe=_PATH_SAFE).encode()


def agrees(raw_path: bytes, path: str) -> bool:
    """Whether `raw_path` is a spelling of `path`.

    Servers differ in what they make of bytes beyond ASCII, so those are left out of
    the comparison. A host's middleware that rewrote `path` alone is seen here: what
    was decided on and what is forwarded must be the same (CVE-2026-40575).
    """
    raw = raw_path.decode("latin-1")
    if raw == path:
        return True
    right = _BEYOND_ASCII.sub("", path)
    if _BEYOND_ASCII.sub("", unquote(raw, errors="replace")) == right:
        return True
    # cheroot leaves an encoded slash as it is, so that it never parts segments.
    left = "%2F".join(unquote(each, errors="replace") for each in _SLASH.split(raw))
    return _BEYOND_ASCII.sub("", left) == right


def origin_form(target: str) -> str:
    """The path of an absolute-form target (RFC 9112 §3.2.2), which some servers hand
    on as the path: its authority decides nothing. Any other target as it is."""
    scheme, mark, rest = target.partition("://")
    if not mark or "/" in scheme:
        return target
    return "/" + rest.partition("/")[2]


# Paths remembered: how many at most, and how long one may be, in bytes.
_KNOWN = 4096
_KNOWN_BYTES = 256


class RouteMatcher:
    """Matches `{prefix}/{service}/sessions/{session_id}/{path}`.

    Raises:
        ConfigError: the prefix or the pattern cannot work.
    """

    MARK = "/sessions/"
    """Without this in the decoded path, and a slash behind it that is at least one
    character away, there is no match. Drivers look first, so that the host's own
    requests pay little."""
    REACH = len(MARK) + 1
    """From the mark to where that slash may be."""

    def __init__(self, prefix: str, session_id_pattern: str) -> None:
        if not isinstance(prefix, str) or (
            prefix and (not prefix.startswith("/") or prefix.endswith("/"))
        ):
            raise ConfigError(
                "prefix must be empty or start with '/' and not end with one, "
                f"like '/v1/public', not {prefix!r}"
            )
        if set(prefix.split("/")) & {".", ".."} or re.search(
            r"[%?#\\\s\x00-\x1f\x7f]|//", prefix
        ):
            raise ConfigError(
                "prefix must be a plain decoded path without '%', '?', '#', '\\', "
                f"spaces or dot segments, not {prefix!r}"
            )
        try:
            self._id = re.compile(str(session_id_pattern))
        except re.error as error:
            raise ConfigError(
                f"session_id_pattern must be a regular expression: {error}"
            ) from error
        if not isinstance(session_id_pattern, str) or self._id.fullmatch(""):
            raise ConfigError(
                "session_id_pattern must be text and not match the empty string, "
                f"not {session_id_pattern!r}"
            )
        shape = r"/([^/]+)/sessions/([^/]+)(/.*)"
        self._decoded = re.compile(re.escape(prefix) + shape, re.DOTALL)
        start = re.escape(requote(prefix))
        self._raw = re.compile(start + shape.encode(), re.DOTALL)
        # What nearly every request looks like, recognised in one go.
        usual = session_id_pattern if session_id_pattern == UUID else "(?!)"
        self._usual = re.compile(start + rf"/([^/%]+)/sessions/({usual})/".encode())
        self._known: dict[bytes, tuple[str, Route]] = {}

    def __call__(
        self, path: str, raw_path: bytes | None, root_path: str = ""
    ) -> Route | None:
        """The route, or None when the path is the host application's.

        `path` is decoded; `raw_path` as the client sent it, where the server gives
        it. Both may or may not begin with `root_path` (servers differ). The raw
        spelling decides what a segment is, so an encoded slash never moves a
        boundary; a path that has the shape only when decoded is a match that has
        no target.
        """
        if raw_path is not None and not root_path:
            known = self._known.get(raw_path)
            if known is not None and known[0] == path:
                return known[1]
            route = self._usually(path, raw_path)
            if route is not None:
                return route
        return self._closer(path, raw_path, root_path)

    def forget(self) -> None:
        """Remember no path any more, and nothing that was worked out from one."""
        self._known.clear()

    def _usually(self, path: str, raw_path: bytes) -> Route | None:
        """The route of a usual spelling; remembered, for the next of that path."""
        found = self._usual.match(raw_path)
        if found is None or not agrees(raw_path, path):
            return None
        end = found.end(2)
        service, id = found[1].decode("latin-1"), found[2].decode("ascii").lower()
        route = Route(service, id, raw_path[end:], raw_path[:end])
        if len(raw_path) <= _KNOWN_BYTES:
            keep(self._known, raw_path, (path, route), _KNOWN)
        return route

    def _closer(
        self, path: str, raw_path: bytes | None, root_path: str
    ) -> Route | None:
        path = origin_form(path)
        if raw_path is not None:
            raw_path = origin_form(raw_path.decode("latin-1")).encode("latin-1")
        root = root_path.encode("utf-8", "surrogateescape")
        if raw_path is None or (
            not agrees(raw_path, path)
            and not (root_path and agrees(root + raw_path, path))
        ):
            raw_path = requote(path)
        if root_path:
            if path.startswith(root_path + "/"):
                path = path[len(root_path) :]
            if raw_path.startswith(root + b"/"):
                raw_path = raw_path[len(root) :]
        found = self._raw.match(raw_path)
        if found is not None:
            service_bytes, id_bytes, target = found.groups()
            service = service_bytes.decode("latin-1")
            session_id = id_bytes.decode("latin-1")
            if "%" in service:
                service = unquote(service)
            if "%" in session_id:
                session_id = unquote(session_id)
            public = root + raw_path[: found.start(3)]
        else:
            shaped = self._decoded.match(path)
            if shaped is None:
                return None
            service, session_id, _ = shaped.groups()
            target = None
            public = root + requote(path[: shaped.start(3)])
        well_shaped = self._id.fullmatch(session_id) is not None
        return Route(
            service, canonical(session_id) if well_shaped else None, target, public
        )
