"""Advisories as tests. Those of one family are in a file of their own."""

from __future__ import annotations

import contextlib

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Upstream, answering, response
from ..support.wire import Broken
from .conftest import Serve
from .test_table import UNKNOWN

SCRIPT = "<script>alert(1)<script>"
ENCODED = "%3Cscript%3Ealert(1)%3C%73cript%3E"


def test_markup_in_a_request_is_never_reflected(portal: Portal, site: Site) -> None:
    """CVE-2024-35225."""
    fields = [
        (b"X-Request-Id", SCRIPT.encode()),
        (b"Referer", SCRIPT.encode()),
        (b"User-Agent", SCRIPT.encode()),
        (b"Cookie", SCRIPT.encode()),
    ]
    for key in ("pk_test", None, "pk_wrong"):
        for markup in (SCRIPT, ENCODED):
            for target in (
                f"/{markup}/sessions/{UNKNOWN}/x",
                f"/my-agent/sessions/{markup}/x",
                f"{site.public}/../{markup}",
                f"{site.public}/bot;{markup}",
                f"/my-agent/sessions/{UNKNOWN}/{markup}?{markup}",
            ):
                answer = portal.request("GET", target, fields, key=key)
                whole = answer.raw + answer.body
                assert b"script" not in whole.lower(), (target, answer)
                if answer.ours:
                    assert answer.one("content-type") == b"application/json"
                    assert answer.one("x-content-type-options") == b"nosniff"


def test_a_header_cannot_smuggle_a_line(portal: Portal, upstream: Upstream) -> None:
    site = portal.mount(upstream)
    for value in (b"a\r\nX-Evil: 1", b"a\nX-Evil: 1", b"a\rX-Evil: 1", b"a\x00b"):
        raw = site.raw("GET", "/x", [(b"X-A", value)])
        answer = portal.exchange(raw)
        assert answer.status in (200, 400), answer
    for each in upstream.requests:
        # Two whole lines are two fields already for the server.
        assert all(
            b"\r" not in value and b"\n" not in value for _, value in each.headers
        )
        assert b"\x00" not in each.raw


@pytest.mark.parametrize(
    "encoded",
    ["%0d%0aX-Evil:%201", "%0aX-Evil:%201", "%0d", "%00", "%0d%0a%0d%0aGET%20/"],
)
def test_an_encoded_line_break_stays_encoded(
    site: Site, upstream: Upstream, encoded: str
) -> None:
    for path in (f"/x{encoded}", f"/x?{encoded}"):
        answer = site.request("GET", path)
        assert answer.status in (200, 400)
        if answer.status == 200:
            assert upstream.last.target == path.encode()
            assert not upstream.last.has("x-evil")


def test_a_location_cannot_smuggle_a_line(portal: Portal, serve: Serve) -> None:
    for value in (b"/x\rSet-Cookie: a=b", b"/x\x00"):
        raw = response(status="302 Found", headers=[(b"Location", value)])
        answer = portal.mount(serve(answering(raw))).request()
        assert not answer.has("set-cookie")
        assert answer.status in (302, 502)
        assert answer.ours or value not in answer.raw


def test_nobody_reaches_a_deny_listed_path_by_another_spelling(
    site: Site, upstream: Upstream
) -> None:
    """CVE-2026-44373, CVE-2021-29492."""
    for path in (
        *("/bot", "/%62ot", "/%62%6f%74", "/bot/", "/bot;x", "//bot", "/./bot"),
        *("/x/../bot", "/x/%2e%2e/bot", "/..%2fbot", "/bot%2f", "/%2fbot", "/bot?x"),
        *("/bot;x/", "/;/bot", "/bot/;", "///bot///", "/x/..;/bot", "/%2e/bot"),
        *("/bot%00", "/bot%5c", "/bot\\", "/%5cbot", "/b%6Ft;jsessionid=1"),
    ):
        answer = site.request("POST", path, body=b"{}")
        assert answer.ours, (path, answer)
        assert answer.status in (400, 404)
    assert upstream.connections == []


def test_a_doubly_encoded_path_is_not_decoded_twice(
    site: Site, upstream: Upstream
) -> None:
    for path in ("/%252e%252e/x", "/%2562ot", "/a%252fb", "/%25"):
        assert site.request("GET", path).status == 200
        assert upstream.last.target == path.encode()


def test_an_answer_to_an_upgrade_is_an_answer_and_no_tunnel(
    portal: Portal, upstream: Upstream
) -> None:
    """CVE-2018-1002105, CVE-2026-2833."""
    site = portal.mount(upstream)
    fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"foo")]
    with portal.connect() as client:
        client.send(site.raw("GET", "/x", fields) + site.raw("GET", "/bot"))
        assert client.answer().status in (200, 400)
        client.sock.settimeout(0.3)
        # uvicorn reads nothing after an upgrade that it does not know.
        with contextlib.suppress(Broken, OSError):
            check(client.answer(), contract.RESERVED_PATH)
    assert [each.target for each in upstream.requests] in ([], [b"/x"])
    assert not any(each.has("upgrade") for each in upstream.requests)


def test_equal_fields_by_the_thousand(portal: Portal, site: Site) -> None:
    """CVE-2025-14550."""
    raw = site.raw("GET", "/x", [(b"X", b"y")] * 10_000)
    answer = portal.exchange(raw)
    if portal.asgi:
        check(answer, contract.HEADERS_TOO_LARGE)
    else:  # One joined field of 20 KB by the time it is seen.
        assert answer.status == 200


def test_a_request_line_and_a_field_of_a_megabyte(portal: Portal, site: Site) -> None:
    for raw in (
        site.raw("GET", "/" + "a" * 1_000_000),
        site.raw("GET", "/x", [(b"X-A", b"a" * 1_000_000)]),
        site.raw("GET", "/x", [(b"X" * 70_000, b"a")]),
    ):
        with portal.connect() as client:
            try:
                client.send(raw)
                # gunicorn is started without limits of its own.
                assert client.answer().status in (200, 400, 414, 431)
            except (Broken, OSError):
                pass
    assert site.request().status == 200
