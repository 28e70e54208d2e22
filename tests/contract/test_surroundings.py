"""What stands around the middleware: mount points, front proxies, other middleware."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support import contract
from ..support.contract import check
from ..support.expectations import EXPECTED
from ..support.servers import Portal, request
from ..support.upstream import answering, response
from .conftest import Serve

MOUNTED = [(name, how) for name, each in EXPECTED.items() for how in each.mounts]


@pytest.mark.parametrize(("name", "how"), MOUNTED)
def test_a_server_that_is_told_its_mount_point(
    tmp_path: Path, serve: Serve, name: str, how: str
) -> None:
    redirect = response(status="302 Found", headers=[(b"Location", b"/login")])
    upstream = serve(answering(redirect))
    with Portal(name, tmp_path, root="/a/portal") as portal:
        site = portal.mount(upstream)
        prefix = "/a/portal" if how == "whole" else ""
        answer = portal.request("GET", f"{prefix}{site.public}/x%2Fy;z?a=%20")
    public = f"/a/portal{site.public}".encode()
    assert upstream.last.target == b"/x%2Fy;z?a=%20"
    assert upstream.last.one("x-forwarded-prefix") == public
    assert answer.one("location") == public + b"/login"


@pytest.mark.everywhere
@pytest.mark.parametrize("via", ["mounted", "mounted-old"])
def test_an_application_that_is_mounted_in_either_meaning(
    portal: Portal, serve: Serve, via: str
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via=via)
    for path in ("/x%2Fy;z?a=%20", "//", "/mounted/x", f"{site.public}/x"):
        assert site.request("GET", path).status == 200
        assert upstream.last.target == path.encode()
        prefix = upstream.last.one("x-forwarded-prefix")
        assert prefix == site.public.encode()
    check(site.request("GET", "/bot"), contract.RESERVED_PATH)


SAID = [(b"X-Forwarded-For", b"1.2.3.4"), (b"X-Forwarded-Proto", b"https")]
BELIEVING = {
    # Where the server believes the field, the client is whom it names.
    "uvicorn": (b"1.2.3.4", b"1.2.3.4"),
    "uvicorn-h11": (b"1.2.3.4", b"1.2.3.4"),
    # gunicorn believes the scheme alone.
    "gunicorn": (b"127.0.0.1", b"1.2.3.4, 127.0.0.1"),
}


@pytest.mark.parametrize("name", BELIEVING)
def test_a_server_that_believes_what_a_front_proxy_says(
    tmp_path: Path, serve: Serve, name: str
) -> None:
    upstream = serve()
    client, chain = BELIEVING[name]
    with Portal(name, tmp_path, trust=True) as portal:
        for via, expected in (("", client), ("append", chain)):
            site = portal.mount(upstream, via=via)
            assert site.request("GET", "/x", SAID).status == 200
            assert upstream.last.one("x-forwarded-for") == expected
            assert upstream.last.one("x-forwarded-proto") == b"https"
        site = portal.mount(upstream, via="off")
        assert site.request("GET", "/x", SAID).status == 200
        assert not [name for name in upstream.last.names if b"forwarded" in name]


@pytest.mark.everywhere
@pytest.mark.parametrize("via", ["", "append", "off"])
def test_a_server_that_believes_nobody(portal: Portal, serve: Serve, via: str) -> None:
    upstream = serve()
    site = portal.mount(upstream, via=via)
    assert site.request("GET", "/x", [(b"X-Forwarded-Port", b"1")]).status == 200
    expected = {"": [b"127.0.0.1"], "append": [b"127.0.0.1"], "off": []}
    assert upstream.last.all("x-forwarded-for") == expected[via]


@pytest.mark.everywhere
def test_a_body_that_an_outer_middleware_has_read(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="quick-eaten")
    before = len(portal.log)
    answer = site.request("POST", "/x", body=b"hello")
    row = {500: contract.BUG, 408: contract.STALLED}[portal.expected.consumed]
    check(answer, row)
    assert "mount the proxy outermost" in portal.log[before:]
    assert not any(each.end == "whole" for each in upstream.requests)
    # What has no body is not touched by it.
    assert site.request("GET", "/x").status == 200


def test_a_body_that_an_outer_middleware_replays_empty(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="quick-eaten")
    before = len(portal.log)
    check(site.request("POST", "/x", [(b"X-Replay", b"1")], b"hello"), row(portal))
    assert "mount the proxy outermost" in portal.log[before:]


def row(portal: Portal) -> contract.Row:
    """An ASGI middleware can say that nothing is left; an environ cannot."""
    if portal.asgi or portal.expected.consumed == 500:
        return contract.BUG
    return contract.STALLED


@pytest.mark.parametrize("path", ["/x", "/x?sessions/"])
def test_an_absolute_form_without_a_path_is_the_hosts(
    portal: Portal, path: str
) -> None:
    answer = portal.exchange(request("GET", f"http://portal.test{path}"))
    assert not answer.ours
