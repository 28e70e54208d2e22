"""Which paths are a session's, and which are the host application's."""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError
from session_proxy_middleware.rules.route import UUID, RouteMatcher, canonical, requote
from tests.unit.values import ID, a_proxy

BARE = RouteMatcher("", UUID)
PREFIXED = RouteMatcher("/v1/public", UUID)


def test_the_route_is_taken_apart() -> None:
    route = PREFIXED(f"/v1/public/bot/sessions/{ID}/a/b", None)
    assert route is not None
    assert (route.service, route.session_id, route.target) == ("bot", ID, b"/a/b")
    assert route.public == f"/v1/public/bot/sessions/{ID}".encode()


def test_the_slash_alone_is_the_sessions_root() -> None:
    route = BARE(f"/bot/sessions/{ID}/", None)
    assert route is not None
    assert route.target == b"/"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        f"/bot/sessions/{ID}",
        f"//sessions/{ID}/x",
        "/bot/sessions//x",
        f"/bot/session/{ID}/x",
        f"/bot/Sessions/{ID}/x",
        f"/a/bot/sessions/{ID}/x",
        f"bot/sessions/{ID}/x",
        f"//bot/sessions/{ID}/x",
        f"/bot//sessions/{ID}/x",
    ],
)
def test_everything_else_is_the_host_applications(path: str) -> None:
    assert BARE(path, None) is None
    assert BARE(path, path.encode()) is None


@pytest.mark.parametrize(
    "path", [f"/bot/sessions/{ID}/x", f"/v1/publicbot/sessions/{ID}/x"]
)
def test_a_path_outside_the_prefix_is_the_host_applications(path: str) -> None:
    assert PREFIXED(path, path.encode()) is None


@pytest.mark.parametrize("id", ["x", ID[:-1], ID + "0", "..", "%", f"{{{ID}}}"])
def test_a_malformed_id_is_a_route_without_a_session(id: str) -> None:
    route = BARE(f"/bot/sessions/{id}/x", None)
    assert route is not None
    assert route.session_id is None


def test_the_case_of_an_id_does_not_matter() -> None:
    route = BARE(f"/bot/sessions/{ID.upper()}/x", None)
    assert route is not None
    assert route.session_id == ID
    assert canonical("Not-A-UUID") == "Not-A-UUID"


def test_other_shapes_of_ids_are_an_option_and_keep_their_case() -> None:
    route = RouteMatcher("", "[A-Z]{3}")("/bot/sessions/ABC/x", None)
    assert route is not None
    assert route.session_id == "ABC"


@pytest.mark.parametrize(
    "tail", [b"/a%2Fb", b"//x", b"/%zz;a+b", b"/caf%C3%A9", b"/caf\xc3\xa9", b"/%"]
)
def test_the_target_is_what_the_client_spelled(tail: bytes) -> None:
    raw = f"/bot/sessions/{ID}".encode() + tail
    route = BARE(unquote(raw.decode("latin-1")), raw)
    assert route is not None
    assert route.target == tail


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_quoted_target_round_trips_byte_for_byte(text: str) -> None:
    tail = "/" + text
    raw = (f"/bot/sessions/{ID}" + quote(tail)).encode()
    route = BARE(f"/bot/sessions/{ID}{tail}", raw)
    assert route is not None
    assert route.target == quote(tail).encode()


@given(st.binary(max_size=40))
def test_any_raw_bytes_are_a_route_with_that_target_or_with_a_safe_one(
    data: bytes,
) -> None:
    raw = f"/bot/sessions/{ID}/".encode() + data
    path = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    route = BARE(path, raw)
    assert route is not None
    assert (route.service, route.session_id) == ("bot", ID)


def test_a_service_is_decoded_once_and_an_encoded_slash_moves_no_boundary() -> None:
    route = BARE("/a b/sessions/x/y", b"/a%20b/sessions/x/y")
    assert route is not None
    assert route.service == "a b"
    raw = f"/b%2Fot/sessions/{ID}/x".encode()
    route = BARE(f"/b/ot/sessions/{ID}/x", raw)
    assert route is not None
    assert route.service == "b/ot"


def test_an_encoded_id_is_decoded() -> None:
    raw = f"/bot/sessions/%35{ID[1:]}/x".encode()
    route = BARE(f"/bot/sessions/{ID}/x", raw)
    assert route is not None
    assert route.session_id == ID


def test_a_shape_that_shows_only_after_decoding_never_falls_through() -> None:
    raw = f"/bot%2Fsessions/{ID}/x".encode()
    route = BARE(f"/bot/sessions/{ID}/x", raw)
    assert route is not None
    assert (route.service, route.target) == ("bot", None)


def test_a_path_that_the_host_rewrote_wins_over_the_raw_one() -> None:
    route = BARE(f"/bot/sessions/{ID}/new x", f"/bot/sessions/{ID}/old".encode())
    assert route is not None
    assert route.target == b"/new%20x"


@pytest.mark.parametrize("raw_has_root", [True, False])
@pytest.mark.parametrize("path_has_root", [True, False])
def test_a_root_path_is_left_out_wherever_the_server_puts_it(
    path_has_root: bool, raw_has_root: bool
) -> None:
    inner = f"/bot/sessions/{ID}/x%2Fy"
    path = ("/app" if path_has_root else "") + inner.replace("%2F", "/")
    raw = (("/app" if raw_has_root else "") + inner).encode()
    route = BARE(path, raw, "/app")
    assert route is not None
    assert route.service == "bot"
    assert route.public == f"/app/bot/sessions/{ID}".encode()
    if path_has_root or not raw_has_root:
        assert route.target in (b"/x%2Fy", b"/x/y")


def test_without_a_raw_path_the_decoded_one_is_quoted() -> None:
    route = BARE(f"/bot/sessions/{ID}/a b/ü?#", None)
    assert route is not None
    assert route.target == b"/a%20b/%C3%BC%3F%23"
    assert requote("/\udcff") == b"/%FF"


@pytest.mark.parametrize(
    "prefix",
    [
        "v1",
        "/v1/",
        "/",
        "/a b",
        "/a%20",
        "/a?",
        "/a#",
        "/a\\b",
        "/a//b",
        "/a\x00b",
        "/../x",
        "/./x",
        None,
        3,
    ],
)
def test_a_prefix_that_cannot_work_is_refused(prefix: object) -> None:
    with pytest.raises(ConfigError, match="prefix must"):
        a_proxy(prefix=prefix)


@pytest.mark.parametrize("pattern", ["(", "[a-z]*", "", None, 3])
def test_a_pattern_that_cannot_work_is_refused(pattern: object) -> None:
    with pytest.raises(ConfigError, match="session_id_pattern must"):
        a_proxy(session_id_pattern=pattern)


def test_a_session_seen_before_lends_its_path_to_no_other() -> None:
    matcher = RouteMatcher("", UUID)
    inner = f"/bot/sessions/{ID}"
    for _ in range(2):
        route = matcher(f"{inner}/a", f"{inner}/a".encode())
        assert route is not None
        assert (route.session_id, route.target) == (ID, b"/a")
    assert matcher(f"{inner}x", f"{inner}x".encode()) is None
    shaped_once_decoded = matcher(f"{inner}/x", f"{inner}%2Fx".encode())
    assert shaped_once_decoded is not None
    assert shaped_once_decoded.target is None
    longer = matcher(f"{inner}0/x", f"{inner}0/x".encode())
    assert longer is not None
    assert longer.session_id is None


def test_so_many_sessions_may_have_been_seen() -> None:
    matcher = RouteMatcher("", UUID)
    for number in range(10_000):
        id = f"57af5437-97a2-4646-9873-{number:012x}"
        path = f"/bot/sessions/{id}/x"
        route = matcher(path, path.encode())
        assert route is not None
        assert route.session_id == id


@pytest.mark.parametrize("authority", ["portal.test", "trap.test:80", "", "a@b"])
@pytest.mark.parametrize("given_raw", [True, False])
def test_the_absolute_form_is_its_path(authority: str, given_raw: bool) -> None:
    """RFC 9112 §3.2.2: a server must accept it; some hand it on as the path."""
    path = f"http://{authority}/bot/sessions/{ID}/a b"
    raw = path.replace(" ", "%20").encode() if given_raw else None
    route = BARE(path, raw)
    assert route is not None
    assert route.target == b"/a%20b"
    assert route.public == f"/bot/sessions/{ID}".encode()
    assert PREFIXED(path, raw) is None


def test_a_path_with_a_scheme_in_it_is_no_absolute_form() -> None:
    path = f"/http://x/bot/sessions/{ID}/x"
    assert BARE(path, path.encode()) is None
    route = BARE(f"/bot/sessions/{ID}/http://x/y", None)
    assert route is not None
    assert route.target == b"/http://x/y"


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
def test_a_server_may_leave_an_encoded_slash_as_it_is(slash: str) -> None:
    """cheroot does, and decodes the rest: the spelling that was sent still counts."""
    raw = f"/bot/sessions/{ID}/a%20b{slash}%2e%2e{slash}c".encode()
    path = f"/bot/sessions/{ID}/a b%2F..%2Fc"
    route = BARE(path, raw)
    assert route is not None
    assert route.target == f"/a%20b{slash}%2e%2e{slash}c".encode()
    rewritten = BARE(path.replace("..", "d"), raw)
    assert rewritten is not None
    assert rewritten.target == b"/a%20b%252Fd%252Fc"
