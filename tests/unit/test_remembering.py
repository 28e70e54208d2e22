"""What anybody can have remembered, before it is known who asks, has bounds."""

from __future__ import annotations

import tracemalloc

from session_proxy_middleware.rules.headers import HeaderRules
from session_proxy_middleware.rules.isolation import WEIGHTS
from session_proxy_middleware.rules.route import UUID, RouteMatcher
from session_proxy_middleware.wsgi_environ import headers
from tests.unit.values import ID, a_request

LONG = "x" * 50_000
MANY = 200


def grown(rounds: range, *, what: str) -> int:
    """Bytes more than before, after so many different long names."""
    matcher = RouteMatcher("", UUID)
    rules = HeaderRules(
        platform=b"x-session", max_fields=200, max_bytes=65_536, cookies="isolate"
    )
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in rounds:
        name = f"{LONG}{number}"
        if what == "path":
            path = f"/{name}/sessions/{ID}/x"
            assert matcher(path, path.encode()) is not None
        elif what == "field":
            rules.sift(a_request(headers=[(name.encode(), b"1")]))
        elif what == "variable":
            assert headers({f"HTTP_{name}": "1"}) == [(name.encode(), b"1")]
        elif what == "value":
            assert headers({"HTTP_X": name}) == [(b"x", name.encode())]
        else:
            assert WEIGHTS[b"text/" + name.encode()] == 2
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def test_long_names_are_not_kept() -> None:
    for what in ("path", "field", "variable", "value", "type"):
        assert grown(range(MANY), what=what) < 1_000_000, what


def test_what_is_remembered_of_an_environ_is_nobodys_to_change() -> None:
    environ = {"HTTP_HOST": "public.example", "HTTP_X": "1"}
    expected = [(b"host", b"public.example"), (b"x", b"1")]
    for _ in range(3):
        found = headers(environ)
        assert found == expected
        found.append((b"authorization", b"Bearer stolen"))


def test_equal_values_under_other_names_are_other_fields() -> None:
    for _ in range(2):
        assert headers({"HTTP_A": "1", "HTTP_B": "2"}) == [(b"a", b"1"), (b"b", b"2")]
        assert headers({"HTTP_A": "1", "HTTP_C": "2"}) == [(b"a", b"1"), (b"c", b"2")]


def test_entity_fields_are_there_once_and_only_with_a_value() -> None:
    for value, found in (("", []), ("5", [(b"content-length", b"5")])):
        for _ in range(2):
            environ = {"CONTENT_LENGTH": value, "HTTP_CONTENT_LENGTH": value}
            assert headers(environ) == found
