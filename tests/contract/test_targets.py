"""DESIGN.md section 5: path and query arrive byte for byte, and nowhere else."""

from __future__ import annotations

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, request
from ..support.upstream import Upstream
from .conftest import Serve
from .test_table import UNKNOWN

EXACT = [
    "/",
    "//",
    "///x//y/",
    "/a/",
    "/a%2Fb",
    "/a%2fb",
    "/%2F",
    "/a;b=c;d",
    "/a;v=1/b;w=2",
    "/a+b",
    "/a%20b",
    "/a%2Bb",
    "/%zz",
    "/100%",
    "/%",
    "/a%252Fb",
    "/%252e%252e/x",
    "/...",
    "/..x",
    "/.well-known/x",
    "/x..",
    "/a,b:c@d!$&'()*=~_-.",
    "/%41%42",
    "/%C3%A9",
    "/%c3%a9",
    "/%FF",
    "/sessions/" + UNKNOWN + "/x",
    "/my-agent/sessions/" + UNKNOWN + "/x",
    "/http://trap.test/x",
    "/@trap.test/x",
    "//trap.test/x",
    "/:8080/x",
    "/x?",
    "/x?a=1&a=2&b=%20+&c;d",
    "/x?a=1;b=2",
    "/x?%zz=%",
    "/x??",
    "/x?a?b=c/d?e",
    "/x?=&&=;",
    "/x?q=../../etc",
    "/x?url=http://trap.test/",
    "/x?" + "&".join(f"p{number}={number}" for number in range(1000)),
    "/?a",
    "//?a",
    "/" + "a" * 5000,
]


@pytest.mark.everywhere
@pytest.mark.parametrize("via", ["", "v1", "httpx", "mounted"])
def test_targets_arrive_byte_for_byte(portal: Portal, serve: Serve, via: str) -> None:
    upstream = serve()
    site = portal.mount(upstream, via=via)
    for path in EXACT:
        answer = site.request("GET", path)
        assert answer.status == 200, (path, answer)
        # An empty query has no `?` in ASGI's scope.
        expected = path.removesuffix("?") if portal.asgi and path == "/x?" else path
        assert upstream.last.target == expected.encode(), path


def test_twenty_thousand_parameters_arrive(portal: Portal, serve: Serve) -> None:
    """CVE-2022-2880, CVE-2026-39825 (Go): the proxy read a query in its own way."""
    upstream = serve()
    site = portal.mount(upstream)
    # uvicorn's httptools takes targets of up to 64 KiB.
    path = "/x?" + "&".join(["p="] * 20_000)
    assert len(path) < 65_000
    answer = site.request("GET", path)
    assert answer.status == 200
    assert upstream.last.target == path.encode()


@pytest.mark.parametrize("via", ["", "httpx"])
def test_the_base_path_of_the_session_stands_before_the_target(
    portal: Portal, serve: Serve, via: str
) -> None:
    upstream = serve()
    site = portal.mount(upstream.url + "/base/path/", via=via)
    for path in ("/", "/x?y=1", "//z", "/a%2Fb"):
        assert site.request("GET", path).status == 200
        assert upstream.last.target == b"/base/path" + path.encode()


def test_bytes_beyond_ascii_arrive_or_are_refused_by_the_server(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    path = "/caf\u00e9?q=\u00fc".encode()
    answer = site.request("GET", path)
    if answer.status == 200:
        assert upstream.last.target == path
    else:
        assert answer.status == 400
        assert upstream.connections == []


DOTS = [
    "/..",
    "/.",
    "/../x",
    "/./x",
    "/a/..",
    "/a/../b",
    "/a/./b",
    "/%2e%2e/x",
    "/%2E%2E/x",
    "/.%2e/x",
    "/%2e./x",
    "/%2e/x",
    "/a/%2e%2e",
    "/a/%2e%2e/bot",
    "/a/..%2f..%2fbot",
    "/a/..%2Fbot",
    "/a%2f..%2fb",
    "/..;/x",
    "/..;a=b/x",
    "/%2e%2e;/x",
    "/.;/x",
    "/a/..;",
    "/..%3b/x",
    "/a\\..\\b",
    "/%5c..%5c",
    "/a%5Cb",
    "/%00",
    "/a%00b",
    "/a/..?x=1",
    "/./bot",
    "//../x",
]


@pytest.mark.everywhere
def test_dot_segments_and_their_like_are_refused(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for path in DOTS:
        for method in ("GET", "HEAD"):
            answer = site.request(method, path)
            assert answer.status == 400, (path, answer)
            check(answer, contract.MALFORMED_PATH, to=method)
    assert upstream.connections == []


def test_bytes_that_no_target_has_reach_nobody(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for path in (
        b"/a\x00b",
        b"/a\x01b",
        b"/a\x7fb",
        b"/a b",
        b"/a\tb",
        b"/a\rb",
        b"/a#b",
    ):
        answer = portal.exchange(
            b"GET " + site.public.encode() + path + b" HTTP/1.1\r\n"
            b"Host: x\r\nAuthorization: Bearer pk_test\r\n\r\n"
        )
        if answer.status == 200:
            # What a server cuts off at `#` is no longer there to be refused.
            assert b"#" in path
        else:
            assert answer.status in (400, 404), (path, answer)
    assert all(b"#" not in message.target for message in upstream.requests)
    assert len(upstream.requests) <= 1


@pytest.fixture
def trap(serve: Serve) -> Upstream:
    """Where no request may ever arrive."""
    return serve()


def test_no_request_chooses_where_it_goes(
    portal: Portal, serve: Serve, trap: Upstream
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    host = b"127.0.0.1:%d" % trap.port
    paths = [
        b"//" + host + b"/x",
        b"/http://" + host + b"/x",
        b"/@" + host + b"/x",
        b"/\\" + host + b"/x",
        b"/%2f%2f" + host + b"/x",
        b"/x?url=http://" + host,
        b"/x@" + host,
    ]
    fields = [
        (b"X-Forwarded-Host", host),
        (b"Forwarded", b"host=" + host),
        (b"X-Original-URL", b"http://" + host + b"/"),
        (b"X-Rewrite-URL", b"/bot"),
        (b"X-Forwarded-Uri", b"/bot"),
        (b"X-HTTP-Method-Override", b"DELETE"),
        (b"X-Host", host),
        (b"Referer", b"http://" + host + b"/"),
    ]
    for path in paths:
        for headers in ([], fields):
            raw = request("GET", site.public.encode() + path, headers, host=host)
            answer = portal.exchange(raw)
            assert answer.status in (200, 400), (path, answer)
    assert trap.connections == []
    for message in upstream.requests:
        assert message.one("host") == b"127.0.0.1:%d" % upstream.port
        assert message.method == b"GET"


@pytest.mark.everywhere
def test_the_absolute_form_decides_nothing(
    portal: Portal, serve: Serve, trap: Upstream
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    target = f"http://127.0.0.1:{trap.port}{site.public}/x?y=1"
    answer = portal.exchange(request("GET", target))
    assert answer.status == 200
    assert upstream.last.target == b"/x?y=1"
    assert upstream.last.one("host") == b"127.0.0.1:%d" % upstream.port
    for target in (f"http://127.0.0.1:{trap.port}/", "*", "http:///x", "http://"):
        answer = portal.exchange(request("OPTIONS", target))
        assert not answer.ours
    assert trap.connections == []


@pytest.mark.parametrize(
    "service", ["a@trap.test", "a:80", "%40trap", "trap.test%3a80", "%2e%2e", "a%5cb"]
)
def test_odd_services_are_not_found(portal: Portal, serve: Serve, service: str) -> None:
    """CVE-2025-47269 (code-server), CVE-2024-2206 (Gradio)."""
    portal.mount(serve())
    answer = portal.request("GET", f"/{service}/sessions/{UNKNOWN}/x")
    check(answer, contract.SERVICE_NOT_FOUND)


@pytest.mark.parametrize("path", ["/bot", "/secret"])
def test_headers_that_name_another_path_change_no_decision(
    portal: Portal, serve: Serve, path: str
) -> None:
    """CVE-2026-40575 (oauth2-proxy): it allowed one path and served another."""
    site = portal.mount(serve())
    names = (b"X-Forwarded-Uri", b"X-Original-URL", b"X-Rewrite-Url", b"X-Path")
    fields = [(name, b"/status") for name in names]
    fields.append((b"X-HTTP-Method-Override", b"GET"))
    check(site.request("POST", path, fields, key="pk_get"), contract.FORBIDDEN)
    check(
        site.request("GET", f"{path}?x=/status", key="pk_get"),
        contract.RESERVED_PATH if path == "/bot" else contract.FORBIDDEN,
    )
