"""No input makes a rule slow: ReDoS and its kin (CWE-1333, CWE-407).

Eight times the input may take eight times the time, and some noise; what is quadratic
takes sixty-four. Ratios of processor time, so no machine is too slow for this.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from session_proxy_middleware import MemoryStore
from session_proxy_middleware.errors import ProxyError
from session_proxy_middleware.models import Principal, Route
from session_proxy_middleware.rules import credential, location, path, scope
from session_proxy_middleware.rules.headers import named_by
from session_proxy_middleware.rules.route import UUID, RouteMatcher

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
SHORT, FACTOR = 4000, 8
NOISE = 3
FLOOR = 0.001
"""Seconds. What takes less is too short to be measured."""

match = RouteMatcher("/v1/public", UUID)
named = RouteMatcher("", "(?:[a-z]+-)+[0-9]+")
session = MemoryStore().sessions.register("a", ID, "http://127.0.0.1:80/base")
bots = Principal(id="k", services=("*-*-*-x",), paths=("/a/b",))


def routed(text: str) -> Route | None:
    return match(text, text.encode()) or match(text, None, "/v1")


RULES: dict[str, Callable[[int], object]] = {
    "slashes": lambda n: routed("/" * n + "/sessions/" + "/" * n),
    "markers": lambda n: routed("/sessions/" * n),
    "prefixes": lambda n: routed("/v1/public/a/sessions/" * n),
    "percent signs": lambda n: routed(f"/v1/public/a/sessions/{ID}/" + "%" * n),
    "line breaks": lambda n: routed(f"/v1/public/a/sessions/{ID}/" + "\n" * n),
    "beyond ASCII": lambda n: routed(f"/v1/public/a/sessions/{ID}/" + "é" * n),
    "a long id": lambda n: match("/v1/public/a/sessions/" + "a" * n + "/", None),
    "a rewritten path": lambda n: match("/a%/sessions/" * n, b"/b%/sessions/" * n),
    "parameters": lambda n: path.plain(path.decoded(b"/;" * n)),
    "semicolons": lambda n: path.plain(path.decoded(b"/" + b";" * n)),
    "doubled slashes": lambda n: path.plain(path.decoded(b"/" * n)),
    "almost dots": lambda n: path.decoded(b"/..." * n),
    "encoded almost dots": lambda n: path.decoded(b"/%2e%2e%2e" * n),
    "bad escapes": lambda n: path.decoded(b"/" + b"%" * n),
    "encoded controls": lambda n: path.plain(path.decoded(b"/" + b"%0a" * n)),
    "a query": lambda n: path.check_query(b"&=%;" * n),
    "an authority": lambda n: location.rewritten(b"//" + b"@" * n, session, b"/p"),
    "colons": lambda n: location.rewritten(b"http://" + b":" * n, session, b"/p"),
    "a port": lambda n: location.rewritten(b"http://a:" + b"0" * n, session, b"/p"),
    "brackets": lambda n: location.rewritten(b"//" + b"[]" * n, session, b"/p"),
    "digits": lambda n: location.rewritten(b"//" + b"1" * n, session, b"/p"),
    "dots": lambda n: location.rewritten(b"//" + b"1." * n, session, b"/p"),
    "escapes": lambda n: location.rewritten(b"//" + b"%31" * n, session, b"/p"),
    "open brackets": lambda n: location.field(b"link", b"<" * n, session, b"/p"),
    "open quotes": lambda n: location.field(b"link", b'"\\' * n, session, b"/p"),
    "targets": lambda n: location.field(b"link", b"<//1>" * n, session, b"/p"),
    "a refresh": lambda n: location.field(b"refresh", b"0 ;" * n, session, b"/p"),
    "a token": lambda n: credential.bearer([b"Bearer " + b" " * n]),
    "options": lambda n: named_by([b"a, ,x" * n]),
    "a glob": lambda n: scope.check_service(bots, "-" * n),
    "a path scope": lambda n: scope.check_request(bots, "GET", "/a/b/" * n),
}


def seconds(rule: Callable[[int], object], size: int) -> float:
    """The shortest of some runs."""
    found = []
    for _ in range(4):
        started = time.process_time()
        # To refuse is an answer too, and may not be slow either.
        with contextlib.suppress(ProxyError):
            rule(size)
        found.append(time.process_time() - started)
    return min(found)


@pytest.mark.parametrize("what", RULES)
def test_eight_times_the_input_takes_eight_times_the_time(what: str) -> None:
    short = max(FLOOR, seconds(RULES[what], SHORT))
    assert seconds(RULES[what], SHORT * FACTOR) < short * FACTOR * NOISE
