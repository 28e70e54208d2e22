"""What anybody can have remembered, before it is known who asks, has bounds."""

from __future__ import annotations

import tracemalloc

from session_proxy_middleware.rules.headers import HeaderRules
from session_proxy_middleware.rules.isolation import WEIGHTS
from session_proxy_middleware.rules.route import UUID, RouteMatcher
from session_proxy_middleware.wsgi import _headers
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
            assert _headers({f"HTTP_{name}": "1"}) == [(name.encode(), b"1")]
        else:
            assert WEIGHTS[b"text/" + name.encode()] == 2
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def test_long_names_are_not_kept() -> None:
    for what in ("path", "field", "variable", "type"):
        assert grown(range(MANY), what=what) < 1_000_000, what
