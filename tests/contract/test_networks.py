"""`allowed_networks=`: where a session may be, checked where the connection is made
(CVE-2020-8562, CVE-2026-28416)."""

from __future__ import annotations

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Upstream


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("via", ["", "httpx"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::ffff:0.0.0.0]"])
def test_an_address_that_no_session_has_is_never_connected_to(
    portal: Portal, upstream: Upstream, method: str, via: str, host: str
) -> None:
    """Both would lead to the server on 127.0.0.1, past any rule about that."""
    site = portal.mount(f"http://{host}:{upstream.port}", via=via)
    body = b"{}" if method == "POST" else None
    answer = site.request(method, "/x", [(b"X-Request-Id", b"refused")], body)
    check(answer, contract.UNREACHABLE, to=method)
    assert upstream.connections == []
    assert site.idle()


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
    ],
)
def test_link_local_and_metadata_are_refused_and_the_log_says_by_which_rule(
    portal: Portal, host: str
) -> None:
    site = portal.mount(f"http://{host}/latest/meta-data")
    asked = [(b"X-Request-Id", site.id.encode())]
    answer = site.request("GET", "/x", asked)
    check(answer, contract.UNREACHABLE)
    assert b"169.254" not in answer.raw + answer.body
    [line] = [
        each
        for each in portal.log.splitlines()
        if site.id in each and "WARNING" in each and "upstream_unreachable" in each
    ]
    assert "which allowed_networks does not list" in line


def test_only_what_is_listed_is_connected_to(
    portal: Portal, upstream: Upstream
) -> None:
    listed = portal.mount(f"http://0.0.0.0:{upstream.port}", via="nets")
    assert listed.request().body == b"ok"
    other = portal.mount(upstream, via="nets")
    check(other.request(), contract.UNREACHABLE)
    name = portal.mount(f"http://localhost:{upstream.port}", via="nets")
    check(name.request(), contract.UNREACHABLE)
    assert len(upstream.connections) == 1


def test_through_httpx_addresses_are_checked_and_names_refused(
    portal: Portal, upstream: Upstream
) -> None:
    listed = portal.mount(upstream, via="httpx-nets")
    assert listed.request().body == b"ok"
    for host in ("localhost", "0.0.0.0", "[::1]"):
        other = portal.mount(f"http://{host}:{upstream.port}", via="httpx-nets")
        check(other.request(), contract.UNREACHABLE)
    assert len(upstream.connections) == 1


def test_a_name_of_ones_own_machine_is_resolved_and_connected_to(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(f"http://localhost:{upstream.port}")
    assert site.request().body == b"ok"
    assert upstream.last.one("host") == b"localhost:%d" % upstream.port
