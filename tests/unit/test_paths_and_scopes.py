"""What may be asked of a session, and by whom."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError, Principal
from session_proxy_middleware.errors import (
    Forbidden,
    InvalidCredential,
    MalformedPath,
    ProxyError,
    ServiceNotFound,
    Unauthenticated,
)
from session_proxy_middleware.rules import credential, path, scope
from tests.unit.crossing import refused, sent
from tests.unit.test_exchange_order import World, a_key, slug
from tests.unit.values import HOST_FIELD, a_proxy, a_request

DOTS = [b".", b"..", b"%2e", b"%2E", b".%2e", b"%2e.", b"%2e%2E", b"%2E%2e"]
AFTER = [b"", b"/", b"/x", b";", b";x", b";x/y", b"%3b", b"%3B=1", b"%2f", b"%2Fx"]
BEFORE = [b"/", b"/a/", b"//", b"/a%2f", b"/%2F", b"/a;b/"]


@pytest.mark.parametrize("dots", DOTS)
def test_a_dot_segment_in_any_spelling_is_malformed(dots: bytes) -> None:
    for before, after in itertools.product(BEFORE, AFTER):
        target = before + dots + after
        assert refused(a_request(target)) == (400, "malformed_path"), target


@pytest.mark.parametrize(
    "target",
    [
        b"/%252e%252e/x",
        b"/...",
        b"/.x",
        b"/x.",
        b"/x..",
        b"/..x",
        b"/x/.well-known/y",
        b"/a/..%252f",
        b"/%2",
        b"/%zz",
        b"/%",
        b"//",
        b"/%2F%2F",
        b"/a;..",
        b"/a+b%20c",
        b"/%ff",
    ],
)
def test_what_only_looks_like_a_dot_segment_is_forwarded_as_it_is(
    target: bytes,
) -> None:
    assert sent(a_request(target)).target == target


@pytest.mark.parametrize(
    "target",
    [
        b"/\\x",
        b"/%5c",
        b"/%5C..%5Cx",
        b"/%00",
        b"/\0",
        b"/a b",
        b"/a\tb",
        b"/\x7f",
        b"/a#b",
        b"/\r\nx",
        None,
    ],
)
def test_a_byte_that_no_target_has_is_malformed(target: bytes | None) -> None:
    assert refused(a_request(target)) == (400, "malformed_path")


@pytest.mark.parametrize("query", [b"a b", b"a#b", b"a\r\nb", b"\0", b"\x7f"])
def test_a_byte_that_no_query_has_is_malformed(query: bytes) -> None:
    assert refused(a_request(query=query)) == (400, "malformed_path")


@pytest.mark.parametrize(
    "query", [b"", b"a=1;b=2", b"%zz", b"..", b"/../", b"\\", b"a=1&" * 20_000, b"?"]
)
def test_a_query_is_forwarded_byte_for_byte(query: bytes) -> None:
    assert sent(a_request(query=query)).target == b"/chat?" + query


@given(st.binary(max_size=40), st.none() | st.binary(max_size=20))
def test_what_is_admitted_is_forwarded_byte_for_byte(
    data: bytes, query: bytes | None
) -> None:
    try:
        path.decoded(b"/" + data)
        path.check_query(query or b"")
    except MalformedPath:
        return
    request = a_request(b"/" + data, query=query)
    outbound = sent(request, a_proxy(reserved_paths=()))
    expected = b"/" + data + (b"" if query is None else b"?" + query)
    assert outbound.target == expected


@pytest.mark.parametrize(
    "target",
    [
        b"/bot",
        b"/bot/",
        b"/bot//",
        b"//bot",
        b"/%62ot",
        b"/%62%6f%74",
        b"/bot;x",
        b"/bot;x/",
        b"/bot%3Bx",
        b"/bot%2F",
        b"/%2Fbot",
        b"/;a/bot",
        b"/BOT",
        b"/Bot;x",
        b"/%42ot/",
    ],
)
def test_a_platform_path_in_any_spelling_is_reserved(target: bytes) -> None:
    assert refused(a_request(target)) == (404, "reserved_path")


@pytest.mark.parametrize(
    "target", [b"/bots", b"/bot/x", b"/a/bot", b"/bo", b"/%2562ot"]
)
def test_what_is_not_a_platform_path_passes(target: bytes) -> None:
    assert sent(a_request(target)).target == target


def test_reserved_paths_are_an_option() -> None:
    proxy = a_proxy(reserved_paths=["/admin/", "/a/b"])
    for target in (b"/admin", b"/a//b/"):
        assert refused(a_request(target), proxy) == (404, "reserved_path")
    assert sent(a_request(b"/bot"), proxy).target == b"/bot"
    assert sent(a_request(b"/bot"), a_proxy(reserved_paths=())).target == b"/bot"


def test_a_reserved_path_in_capitals_is_reserved_in_small_letters() -> None:
    proxy = a_proxy(reserved_paths=["/Admin/Start"])
    assert refused(a_request(b"/admin/start"), proxy) == (404, "reserved_path")


@pytest.mark.parametrize(
    "value",
    [
        *("/bot", None, 3, ["bot"], [b"/bot"], [3], ["/%62ot"], ["/a/../bot"]),
        *(["/./bot"], ["/bot?x"], ["/bot#x"], ["/bot\n"], ["\\bot"], ["/a\\bot"]),
    ],
)
def test_reserved_paths_that_are_none_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="reserved_paths must"):
        a_proxy(reserved_paths=value)


@pytest.mark.parametrize(
    ("services", "service", "admitted"),
    [
        (("*",), "bot", True),
        (("bot",), "bot", True),
        (("a", "bot"), "bot", True),
        (("bot-*",), "bot-1", True),
        (("b?t",), "bot", True),
        (("api",), "api2", False),
        (("api",), "my-api", False),
        (("api",), "API", False),
        (("bot-*",), "bot", False),
        (("API*",), "api", False),
        ((), "bot", False),
    ],
)
def test_a_service_scope_means_whole_names(
    services: tuple[str, ...], service: str, admitted: bool
) -> None:
    principal = Principal(id="k", services=services)
    if admitted:
        scope.check_service(principal, service)
    else:
        with pytest.raises(ServiceNotFound):
            scope.check_service(principal, service)


@pytest.mark.parametrize(
    ("paths", "target", "admitted"),
    [
        (("/status",), "/status", True),
        (("/status",), "/status/x", True),
        (("/status/",), "/status/x", True),
        (("/",), "/anything", True),
        (("/a", "/status"), "/status", True),
        (("/status",), "/statusx", False),
        (("/status",), "//status", False),
        (("/status",), "/STATUS", False),
        (("/status",), "/", False),
        ((), "/", False),
    ],
)
def test_a_path_scope_admits_a_path_and_what_lies_below(
    paths: tuple[str, ...], target: str, admitted: bool
) -> None:
    principal = Principal(id="k", paths=paths)
    if admitted:
        scope.check_request(principal, "GET", target)
    else:
        with pytest.raises(Forbidden):
            scope.check_request(principal, "GET", target)


def test_a_path_scope_is_compared_with_the_decoded_path() -> None:
    world = World(FindKey=a_key(paths=("/status",)))
    assert world.run(a_request(b"/%73tatus")).status == 200
    world = World(FindKey=a_key(paths=("/status",)))
    assert slug(world.run(a_request(b"/admin", query=b"/status"))) == "forbidden"


def test_a_method_scope_admits_its_methods_alone() -> None:
    for method, expected in (("GET", 200), ("POST", 403), ("HEAD", 403)):
        world = World(FindKey=a_key(methods=frozenset({"GET"})))
        assert world.run(a_request(method=method)).status == expected


@pytest.mark.parametrize("override", [b"x-http-method-override", b"x-original-url"])
def test_no_field_changes_what_a_scope_is_compared_with(override: bytes) -> None:
    key = a_key(methods=frozenset({"GET"}), paths=("/status",))
    world = World(FindKey=key)
    headers = [*a_request().headers, (override, b"/status")]
    assert slug(world.run(a_request(b"/admin", headers=headers))) == "forbidden"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "", "PROPFIND"])
def test_a_method_that_is_not_one_of_the_seven_is_not_allowed(method: str) -> None:
    reply = World().run(a_request(method=method))
    assert reply.status == 405
    allowed = b"GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD"
    assert dict(reply.headers)[b"allow"] == allowed


@pytest.mark.parametrize(
    "field", [b"Bearer abc", b"bearer abc", b"BEARER  abc ", b"Bearer a.b-c_~+/9=="]
)
def test_a_bearer_token_is_read(field: bytes) -> None:
    assert credential.bearer([field]) == field.split(None, 1)[1].strip()


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ([], Unauthenticated),
        ([b""], Unauthenticated),
        ([b"Basic eDp5"], Unauthenticated),
        ([b"BearerX abc"], Unauthenticated),
        ([b"Bearer"], InvalidCredential),
        ([b"Bearer "], InvalidCredential),
        ([b"Bearer a,b"], InvalidCredential),
        ([b"Bearer a", b"Bearer a"], InvalidCredential),
    ],
)
def test_what_is_no_single_bearer_token_is_refused(
    fields: list[bytes], failure: type[ProxyError]
) -> None:
    with pytest.raises(ProxyError) as caught:
        credential.bearer(fields)
    assert type(caught.value) is failure


@given(st.binary(max_size=30), st.binary(max_size=60))
def test_no_field_but_a_key_opens_anything(name: bytes, value: bytes) -> None:
    world = World()
    reply = world.run(a_request(headers=[HOST_FIELD, (b"x-" + name, value)]))
    assert reply.status in (400, 401)
    assert world.asked == []
