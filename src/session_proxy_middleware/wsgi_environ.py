"""What a WSGI environ says of the request."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from .models import Headers, Request
from .rules.learnt import keep
from .rules.route import RouteMatcher

Environ = dict[str, Any]

# Of layouts and of fields that are remembered: how many at most, and how long one may
# be, in characters.
_LAYOUTS_KNOWN = 256
_FIELDS_KNOWN = 1024
_LONGEST = 4096

# Some servers give these always, and empty where there are none; and a second time,
# under the name of a header.
_ENTITY = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}
_TWICE = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


def request(environ: Environ, match: RouteMatcher) -> Request | None:
    """The request, or None where its path is the host application's."""
    script: str = environ.get("SCRIPT_NAME", "")
    path: str = script + environ.get("PATH_INFO", "")
    if not path.isascii():
        path = path.encode("latin-1").decode("utf-8", "surrogateescape")
    # As it was sent, where the server tells that.
    uri: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw, mark, _ = uri.partition("?")
    route = match(path, raw.encode("latin-1") if raw else None, script)
    if route is None:
        return None
    query: str = environ.get("QUERY_STRING", "")
    protocol: str = environ.get("SERVER_PROTOCOL", "HTTP/1.1")
    return Request(
        environ["REQUEST_METHOD"],
        route,
        query.encode("latin-1") if query or mark else None,
        headers(environ),
        environ.get("REMOTE_ADDR") or None,
        environ.get("wsgi.url_scheme", "http"),
        protocol.partition("/")[2] or "1.1",
        environ,
    )


def headers(environ: Environ) -> Headers:
    """The fields as the environ has them: equal ones joined by the server.

    A client sends the same fields again and again (see `HeaderRules.sift`), so what
    they are in bytes is remembered.
    """
    variables = tuple(environ)
    layout = _layouts.get(variables) or _laid_out(variables)
    values = layout.values(environ)
    known = _fields.get(values)
    if known is not None and known[0] is layout:
        return known[1].copy()
    fields = [
        (name, value.encode("latin-1"))
        for variable, name, value in zip(
            layout.variables, layout.names, values, strict=True
        )
        if value or variable not in _ENTITY
    ]
    if layout.kept and sum(map(len, values)) <= _LONGEST:
        keep(_fields, values, (layout, fields.copy()), _FIELDS_KNOWN)
    return fields


class _Layout:
    """Which of an environ's variables are header fields, and of what names."""

    __slots__ = ("kept", "names", "values", "variables")

    def __init__(self, variables: tuple[str, ...]) -> None:
        fields = {key: name for key, name in _ENTITY.items() if key in variables}
        for key in variables:
            if key.startswith("HTTP_") and key not in _TWICE:
                fields[key] = key[5:].replace("_", "-").lower().encode("latin-1")
        self.variables = tuple(fields)
        self.names = tuple(fields.values())
        self.values: Callable[[Environ], tuple[str, ...]]
        # Of fewer, an `itemgetter` makes no tuple.
        self.values = itemgetter(*fields) if len(fields) > 1 else _each(self.variables)
        self.kept = sum(map(len, variables)) <= _LONGEST


def _each(variables: tuple[str, ...]) -> Callable[[Environ], tuple[str, ...]]:
    return lambda environ: tuple(environ[key] for key in variables)


def _laid_out(variables: tuple[str, ...]) -> _Layout:
    layout = _Layout(variables)
    if layout.kept:
        keep(_layouts, variables, layout, _LAYOUTS_KNOWN)
    return layout


_layouts: dict[tuple[str, ...], _Layout] = {}
_fields: dict[tuple[str, ...], tuple[_Layout, Headers]] = {}
