"""DESIGN.md section 4: every row that needs no broken session, byte for byte."""

from __future__ import annotations

import uuid

import pytest

from ..support import contract
from ..support.contract import Row, check
from ..support.servers import Portal, Site, request
from .conftest import Serve

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
UNKNOWN = "11111111-2222-3333-4444-555555555555"

WRONG_CREDENTIALS = [
    pytest.param([b"Bearer pk_wrong"], id="unknown"),
    pytest.param([b"Bearer pk_expired"], id="expired"),
    pytest.param([b"Bearer pk_revoked"], id="revoked"),
    pytest.param([b"Bearer pk_future"], id="not-yet-valid"),
    pytest.param([b"Bearer pk_test", b"Bearer pk_test"], id="twice"),
    pytest.param([b"Bearer pk_wrong", b"Bearer pk_test"], id="good-one-last"),
    pytest.param([b"Bearer pk_test", b"Basic eDp5"], id="good-one-first"),
    pytest.param([b"Bearer pk_test, Bearer pk_test"], id="comma"),
    pytest.param([b"Bearer pk_test,"], id="trailing-comma"),
    pytest.param([b"Bearer"], id="scheme-alone"),
    pytest.param([b"Bearer pk_test pk_test"], id="two-tokens"),
    pytest.param([b"Bearer pk_te\xffst"], id="beyond-ascii"),
]


@pytest.fixture
def site(portal: Portal, serve: Serve) -> Site:
    return portal.mount(serve())


@pytest.mark.everywhere
@pytest.mark.parametrize("method", METHODS)
def test_no_credential(site: Site, method: str) -> None:
    answer = site.request(method, key=None)
    check(answer, contract.NO_CREDENTIAL, to=method)


def test_another_scheme_is_no_credential(site: Site) -> None:
    fields = [(b"Authorization", b"Basic cGtfdGVzdDo=")]
    check(site.request("GET", headers=fields, key=None), contract.NO_CREDENTIAL)


@pytest.mark.parametrize("credentials", WRONG_CREDENTIALS)
def test_a_wrong_credential(site: Site, credentials: list[bytes]) -> None:
    """CVE-2021-32777 (Envoy): of several equal fields the last alone was looked at."""
    fields = [(b"Authorization", value) for value in credentials]
    answer = site.request("GET", headers=fields, key=None)
    check(answer, contract.WRONG_CREDENTIAL)


@pytest.mark.parametrize("spelling", [b"Bearer", b"bearer", b"BEARER"])
def test_the_scheme_is_read_in_any_case(site: Site, spelling: bytes) -> None:
    fields = [(b"Authorization", spelling + b" pk_test")]
    assert site.request("GET", headers=fields, key=None).status == 200


@pytest.mark.everywhere
@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_service(portal: Portal, method: str) -> None:
    answer = portal.request(method, f"/nobody/sessions/{UNKNOWN}/x")
    check(answer, contract.SERVICE_NOT_FOUND, to=method)


def test_a_service_outside_the_keys_scope(site: Site) -> None:
    check(site.request(key="pk_other"), contract.SERVICE_NOT_FOUND)


@pytest.mark.parametrize("service", ["other2", "Other", "my-other", "OTHER", "othe"])
def test_a_scope_is_a_whole_name_in_its_own_case(
    portal: Portal, serve: Serve, service: str
) -> None:
    site = portal.mount(serve(), service=service)
    check(site.request(key="pk_other"), contract.SERVICE_NOT_FOUND)


@pytest.mark.parametrize("service", ["other", "other-1"])
def test_a_service_in_the_keys_scope_is_admitted(
    portal: Portal, serve: Serve, service: str
) -> None:
    site = portal.mount(serve(), service=service)
    assert site.request(key="pk_other").status == 200


@pytest.mark.parametrize(
    "id", ["x", "123", UNKNOWN[:-1], UNKNOWN + "0", "%00", UNKNOWN]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_malformed_or_unknown_session(site: Site, id: str, method: str) -> None:
    answer = site.portal.request(method, f"/{site.service}/sessions/{id}/x")
    check(answer, contract.SESSION_NOT_FOUND, to=method)


@pytest.mark.everywhere
def test_an_ended_session(site: Site) -> None:
    assert site.request().status == 200
    site.portal.control("end", service=site.service, id=site.id)
    check(site.request(), contract.SESSION_NOT_FOUND)


def test_the_id_of_another_service(portal: Portal, serve: Serve) -> None:
    one, two = (portal.mount(serve(), service=name) for name in ("one", "two"))
    answer = portal.request("GET", f"/two/sessions/{one.id}/")
    check(answer, contract.SESSION_NOT_FOUND)
    assert two.request().status == 200


def test_the_case_of_an_id_does_not_matter(site: Site) -> None:
    path = f"/{site.service}/sessions/{site.id.upper()}/x"
    assert site.portal.request("GET", path).status == 200


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
def test_a_method_outside_the_keys_scope(site: Site, method: str) -> None:
    answer = site.request(method, "/status", key="pk_get")
    check(answer, contract.FORBIDDEN, to=method)


@pytest.mark.parametrize(
    "path",
    ["/", "/other", "/statusx", "//status", "/x/status", "/STATUS", "/x?/status"],
)
def test_a_path_outside_the_keys_scope(site: Site, path: str) -> None:
    check(site.request("GET", path, key="pk_get"), contract.FORBIDDEN)


@pytest.mark.parametrize("path", ["/status", "/status/", "/status/x", "/%73tatus?a=1"])
def test_a_path_in_the_keys_scope_is_admitted(site: Site, path: str) -> None:
    assert site.request("GET", path, key="pk_get").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_service_that_is_not_ready(portal: Portal, method: str) -> None:
    answer = portal.request(method, f"/unready/sessions/{UNKNOWN}/x")
    check(answer, contract.NOT_READY, to=method)


@pytest.mark.parametrize(
    "path",
    [
        *("/bot", "/bot/", "/bot?x=1", "/%62ot", "/bot;x", "//bot", "/b%6Ft/;y"),
        *("/bot//", "/BOT", "/%42ot"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_platform_path(site: Site, path: str, method: str) -> None:
    answer = site.request(method, path, body=b"{}" if method == "POST" else None)
    check(answer, contract.RESERVED_PATH, to=method)


@pytest.mark.parametrize("path", ["/bots", "/x/bot", "/bo", "/bot/x", "/bot%3F"])
def test_what_only_resembles_a_platform_path_is_forwarded(
    site: Site, path: str
) -> None:
    assert site.request("POST", path, body=b"{}").status == 200


@pytest.mark.parametrize("path", ["/inner/start", "/inner//start/", "/y", "/%79"])
def test_platform_paths_can_be_chosen(portal: Portal, serve: Serve, path: str) -> None:
    site = portal.mount(serve(), via="named", id="room-7")
    check(site.request("GET", path), contract.RESERVED_PATH)
    assert site.request("GET", "/bot").status == 200


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "LOCK"])
def test_a_method_that_is_not_one_of_the_seven(site: Site, method: str) -> None:
    check(site.request(method), contract.METHOD_NOT_ALLOWED)


@pytest.mark.parametrize("method", METHODS)
def test_the_seven_methods_are_forwarded(
    portal: Portal, serve: Serve, method: str
) -> None:
    upstream = serve()
    assert portal.mount(upstream).request(method, "/x").status == 200
    assert upstream.last.method.decode() == method


def test_a_declared_body_over_the_limit(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="small")
    head = site.raw("POST", "/x", [(b"Content-Length", b"100001")])
    check(portal.exchange(head), contract.BODY_TOO_LARGE)
    assert upstream.connections == []
    assert site.request("POST", "/x", body=bytes(100_000)).status == 200


@pytest.mark.parametrize("many", [60, 10_000])
def test_too_many_header_fields(portal: Portal, serve: Serve, many: int) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="small")
    # Under WSGI equal fields arrive joined, so these differ.
    fields = [(b"X-%d" % number, b"y") for number in range(many)]
    check(site.request("GET", "/", fields), contract.HEADERS_TOO_LARGE)
    assert upstream.connections == []
    assert portal.request("HEAD", f"{site.public}/", fields).body == b""


@pytest.mark.parametrize("fields", [1, 10])
def test_too_large_header_fields(portal: Portal, serve: Serve, fields: int) -> None:
    site = portal.mount(serve(), via="small")
    large = [
        (b"X-%d" % number, bytes(9000 // fields).replace(b"\0", b"y"))
        for number in range(fields)
    ]
    check(site.request("GET", "/", large), contract.HEADERS_TOO_LARGE)


@pytest.mark.parametrize("key", ["pk_down"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_key_store_that_fails(site: Site, key: str, method: str) -> None:
    check(site.request(method, key=key), contract.STORE, to=method)


@pytest.mark.parametrize("service", ["svc-down", "sess-down"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_registry_that_fails(
    portal: Portal, serve: Serve, service: str, method: str
) -> None:
    site = portal.mount(serve(), service=service)
    check(site.request(method), contract.STORE, to=method)


@pytest.mark.parametrize("service", ["svc-bug", "sess-bug"])
def test_a_bug_in_a_registry(portal: Portal, serve: Serve, service: str) -> None:
    site = portal.mount(serve(), service=service)
    check(site.request(), contract.BUG)
    check(site.request("HEAD"), contract.BUG, to="HEAD")


def test_a_bug_in_a_key_store(site: Site) -> None:
    check(site.request(key="pk_bug"), contract.BUG)


@pytest.mark.parametrize("via", ["sync", "async"])
@pytest.mark.parametrize(
    ("caller", "row"),
    [
        (None, contract.NO_CREDENTIAL),
        (b"forbidden", contract.FORBIDDEN),
        (b"down", contract.STORE),
        (b"unavailable", contract.STORE),
        (b"bug", contract.BUG),
        (b"nobody", contract.BUG),
        (b"nonsense", contract.BUG),
    ],
)
def test_an_authenticator_of_the_hosts_own(
    portal: Portal, serve: Serve, via: str, caller: bytes | None, row: Row
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via=via)
    fields = [(b"X-Caller", caller)] if caller else []
    portal.control("asked")
    check(site.request("GET", "/", fields), row)
    check(site.request("HEAD", "/", fields), row, to="HEAD")
    assert portal.control("asked") == []
    assert upstream.connections == []


@pytest.mark.parametrize("via", ["sync", "async"])
def test_an_authenticator_admits(portal: Portal, serve: Serve, via: str) -> None:
    site = portal.mount(serve(), via=via)
    answer = site.request("GET", "/", [(b"X-Caller", b"ada")], key=None)
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_proxy_that_is_draining(portal: Portal, serve: Serve, method: str) -> None:
    site = portal.mount(serve(), via="drained")
    check(site.request(method), contract.DRAINING, to=method)


@pytest.mark.everywhere
def test_a_websocket_under_wsgi(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    answer = site.request("GET", "/ws", upgrade())
    if portal.asgi:  # A session that answers 200 has not understood (tests/websocket).
        check(answer, contract.PROTOCOL)
        return
    check(answer, contract.WEBSOCKET)
    check(site.request("GET", "/ws", upgrade(), key=None), contract.NO_CREDENTIAL)
    strict = portal.mount(upstream, via="strict")
    answer = strict.request("GET", "/ws", upgrade())
    check(answer, contract.WEBSOCKET.strictly)
    assert upstream.connections == []


def test_a_websocket_is_authenticated_like_a_request(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    portal.control("asked")
    for key in (None, "pk_wrong", "pk_other"):
        answer = site.request("GET", "/ws", upgrade(), key=key)
        assert answer.status == (404 if key == "pk_other" else 401)
        assert answer.ours
    assert "session" not in " ".join(portal.control("asked"))
    assert upstream.connections == []


def upgrade() -> list[tuple[bytes, bytes]]:
    """The fields of a WebSocket's handshake."""
    return [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]


@pytest.mark.everywhere
def test_more_than_one_host_field(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve())
    raw = site.raw("GET", "/", [(b"Host", b"two.test")])
    answer = portal.exchange(raw)
    if portal.expected.hosts:  # Before any application runs.
        assert answer.status == 400
        assert not answer.ours
    else:
        check(answer, contract.MALFORMED_HEADERS)


def test_two_hosts_in_one_field(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve())
    raw = request("GET", f"{site.public}/", host=b"one.test, two.test")
    answer = portal.exchange(raw)
    assert answer.status == 400
    if answer.ours or portal.asgi:
        check(answer, contract.MALFORMED_HEADERS)


def test_the_clients_request_id_is_on_our_answers(site: Site) -> None:
    id = uuid.uuid4().hex.encode()
    answer = site.request("GET", headers=[(b"X-Request-Id", id)], key="pk_wrong")
    assert answer.one("X-Request-Id") == id
