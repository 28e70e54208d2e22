"""What is written wrong is refused when it is made, and leaks nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from session_proxy_middleware import (
    ConfigError,
    MemoryStore,
    Principal,
    Request,
    SessionProxy,
)
from session_proxy_middleware.errors import (
    InternalError,
    MalformedHeaders,
)
from session_proxy_middleware.models import Route
from session_proxy_middleware.rules import path
from session_proxy_middleware.rules.body import BodyMeter


@pytest.mark.parametrize(
    "scopes",
    [
        {"services": "notebook-*"},
        {"services": ("",)},
        {"services": (1,)},
        {"methods": "GET"},
        {"paths": "/status"},
        {"paths": ("",)},
        {"paths": ("status",)},
        {"paths": ("//",)},
    ],
)
def test_a_scope_that_is_no_list_of_names_is_refused(scopes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(scopes))):
        Principal(id="someone", **scopes)


def test_lists_are_scopes_as_well_as_tuples() -> None:
    scopes: dict[str, Any] = {"services": ["a"], "methods": ["GET"], "paths": ["/b"]}
    principal = Principal(id="someone", **scopes)
    assert principal.services == ("a",)
    assert principal.methods == frozenset({"GET"})
    assert principal.paths == ("/b",)
    assert principal.restricted


@pytest.mark.parametrize("moment", [math.nan, math.inf, "soon"])
@pytest.mark.parametrize("option", ["expires_at", "not_before"])
def test_a_key_cannot_end_at_a_moment_that_is_none(option: str, moment: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        MemoryStore().keys.create(**{option: moment})


def test_a_key_for_every_path_says_so_with_one_slash() -> None:
    with pytest.raises(ConfigError, match="paths"):
        MemoryStore().keys.create(paths=["//"])


@pytest.mark.parametrize("target", [b"/bot%0A", b"/bot%0a/", b"/bot%00"[:-3] + b"%7F"])
def test_a_control_character_does_not_open_a_reserved_path(target: bytes) -> None:
    route = Route("svc", None, target, b"/svc/sessions/x")
    path.look(route, frozenset({"/bot"}))
    assert route.findings.reserved


def test_a_request_does_not_print_what_it_was_trusted_with() -> None:
    route = Route("svc", None, b"/", b"/svc/sessions/x")
    secret = "pk_something_secret"
    request = Request(
        "GET",
        route,
        f"token={secret}".encode(),
        [(b"authorization", f"Bearer {secret}".encode())],
        "127.0.0.1",
        "http",
        "1.1",
        {"HTTP_AUTHORIZATION": secret},
    )
    assert secret not in repr(request)


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "Content-Length",
        "transfer-encoding",
        "X-Forwarded-For",
        "Forwarded",
        "origin",
        "é",
    ],
)
def test_the_session_id_header_cannot_be_one_that_means_something_else(
    name: str,
) -> None:
    with pytest.raises(ConfigError, match="session_id_header"):
        SessionProxy(MemoryStore(), session_id_header=name)


def test_a_wrong_upstream_does_not_show_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        MemoryStore().sessions.register("svc", "id", "http://u:hunter2@h:99999")
    assert "hunter2" not in str(caught.value)


def test_a_body_that_an_upgrade_swallowed_is_the_requests_fault() -> None:
    with pytest.raises(MalformedHeaders):
        BodyMeter(4, None, upgrade=True).count(b"", ended=True)
    with pytest.raises(InternalError):
        BodyMeter(4, None).count(b"", ended=True)


def test_a_path_is_not_known_before_it_is_known_to_be_reserved() -> None:
    """Requests of one path share what was found out about it, also between threads."""
    route = Route("svc", None, b"/bot", b"/svc/sessions/x")
    seen: list[tuple[str | None, bool]] = []

    class Watching(frozenset[str]):
        def __contains__(self, path: object) -> bool:
            # Another thread, in the middle of the look.
            seen.append((route.findings.plain, route.findings.reserved))
            return super().__contains__(path)

    path.look(route, Watching({"/bot"}))
    assert seen == [(None, False)]
    assert (route.findings.plain, route.findings.reserved) == ("/bot", True)
