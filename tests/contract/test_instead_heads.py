"""What a server does with targets and fields, where it makes impossible what the others
promise: one test for each name of `instead.INSTEAD`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, request
from ..support.upstream import answering, response
from ..support.wire import Fields, Wire
from .conftest import Serve
from .test_table import upgrade

instead = pytest.mark.instead


def ends(client: Wire) -> bool:
    """Whether the server closes the connection, by an end or a reset."""
    try:
        return client.closed()
    except OSError:
        return True


def by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of each name, in order."""
    found = defaultdict(list)
    for name, value in fields:
        found[name.lower()].append(value)
    return found


SOME: Fields = [
    (b"X-B", b"1"),
    (b"Set-Cookie", b"a=1; Path=/"),
    (b"X-A", b"2"),
    (b"Set-Cookie", b"b=2"),
    (b"X-B", b"3"),
    (b"X-Latin", b"caf\xe9"),
]


@instead("groups_equal_fields")
def test_groups_equal_fields(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(answering(response(b"ok", headers=SOME))), via="open")
    answer = site.request()
    theirs = by_name(answer.headers)
    for name, values in by_name(SOME).items():
        assert theirs[name] == values
    names = [name for name in answer.names if name in by_name(SOME)]
    assert names != [name.lower() for name, _ in SOME]


@instead("groups_equal_request_fields")
def test_groups_equal_request_fields(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    fields = [(b"X-A", b"1"), (b"X-B", b"2"), (b"X-A", b"3"), (b"x-a", b"4, 5")]
    assert site.request("GET", "/x", fields).status == 200
    theirs = [pair for pair in upstream.last.headers if pair[0] in (b"x-a", b"x-b")]
    assert by_name(theirs) == by_name(fields)
    assert theirs != [(name.lower(), value) for name, value in fields]


@instead("keeps_the_last_of_equal_fields")
def test_keeps_the_last_of_equal_fields(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    good, wrong = (b"Authorization", b"Bearer pk_test"), (b"Authorization", b"Bearer x")
    fields = [(b"X-A", b"1"), (b"x-a", b"2"), (b"Host", b"last.test"), wrong, good]
    assert site.request("GET", "/x", fields, key=None).status == 200
    assert upstream.last.all("x-a") == [b"2"]
    assert upstream.last.one("x-forwarded-host") == b"last.test"
    answer = site.request("GET", "/x", [good, wrong], key=None)
    check(answer, contract.WRONG_CREDENTIAL)


@instead("refuses_many_fields")
def test_refuses_many_fields(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    portal.control("asked")
    for fields in ([(b"X", b"y")] * 10_000, numbered(10_000)):
        with portal.connect() as client:
            client.send(site.raw("GET", "/x", fields))
            answer = client.response_head()
        assert answer.status in (400, 431)
        assert not answer.ours
    assert portal.control("asked") == []
    assert upstream.connections == []


def numbered(many: int) -> Fields:
    return [(b"X-%d" % number, b"y") for number in range(many)]


@instead("refuses_long_targets")
def test_refuses_long_targets(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    with site.open("GET", "/x?" + "a" * 17_000) as client:
        assert ends(client)
    assert upstream.connections == []


@instead("switches_to_h2c")
@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade"])
def test_switches_to_h2c(portal: Portal, serve: Serve, name: bytes) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    settings = (b"HTTP2-Settings", b"AAMAAABkAAQAAP__")
    fields = [(name, b"h2c"), (b"Connection", b"Upgrade"), settings]
    with site.open("GET", "/x", fields) as client:
        assert client.head().status == 101
    assert site.idle()
    # What reached the session, if it did, is a plain request of ours.
    assert not any(each.has("upgrade") for each in upstream.requests)
    assert not any(each.has("http2-settings") for each in upstream.requests)


@instead("invents_a_host")
def test_invents_a_host(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("GET", "/x", host=None).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert portal.exchange(raw).status == 200
    assert upstream.last.has("x-forwarded-host")
    assert upstream.last.one("host") == b"127.0.0.1:%d" % upstream.port


@instead("clears_forwarded")
def test_clears_forwarded(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="append")
    said = [(b"X-Forwarded-For", b"1.2.3.4"), (b"X-Forwarded-Proto", b"https")]
    assert site.request("GET", "/x", said).status == 200
    assert upstream.last.one("x-forwarded-for") == b"127.0.0.1"
    assert upstream.last.one("x-forwarded-proto") == b"http"


@instead("drops_tabs")
def test_drops_tabs(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for path, arrives in ((b"/a\tb", b"/ab"), (b"/x?a\tb", b"/x?ab")):
        assert site.request("GET", path).status == 200
        assert upstream.last.target == arrives
    # What stands on either side of it never becomes a dot segment unseen.
    check(site.request("GET", b"/.\t./x"), contract.MALFORMED_PATH)
    check(site.request("GET", b"/b\tot"), contract.RESERVED_PATH)


@instead("spells_raw_bytes_anew")
def test_spells_raw_bytes_anew(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    assert site.request("GET", b"/a\xe9?b=\xfc").status == 200
    assert upstream.last.target == b"/a\xc3\xa9?b=\xc3\xbc"


@instead("merges_leading_slashes")
def test_merges_leading_slashes(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for more in ("/", "//"):
        target = f"{more}{site.public}/x?y=%20"
        check(portal.request("GET", target, key=None), contract.NO_CREDENTIAL)
        assert portal.request("GET", target).status == 200
        assert upstream.last.target == b"/x?y=%20"
        for path in ("/bot", "/%62ot"):
            answer = portal.request("GET", f"{more}{site.public}{path}")
            check(answer, contract.RESERVED_PATH)
        answer = portal.request("GET", f"{more}{site.public}/%2e%2e%2fx")
        check(answer, contract.MALFORMED_PATH)
    answer = portal.request("GET", "//sessions/x")
    assert answer.body == b"host application: /sessions/x"


@instead("refuses_the_absolute_form")
def test_refuses_the_absolute_form(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for target in (f"http://127.0.0.1:1{site.public}/x", f"/{site.public}/x"):
        answer = portal.exchange(request("GET", target))
        assert answer.status == 400
        assert not answer.ours
    assert upstream.connections == []


@instead("keeps_an_encoded_slash")
def test_keeps_an_encoded_slash(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    answer = portal.request("GET", f"/my-agent%2Fsessions%2F{site.id}%2Fx")
    assert answer.has("x-host")  # The host application's, and not decoded there.
    assert b"%2F" in answer.body
    assert upstream.connections == []


@instead("refuses_a_websocket_bare")
@pytest.mark.parametrize("key", ["pk_wrong", None])
def test_refuses_a_websocket_bare(
    portal: Portal, serve: Serve, key: str | None
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    answer = site.request("GET", "/ws", upgrade(), key=key)
    assert answer.status == 403
    assert not answer.ours
    assert upstream.connections == []


@instead("takes_a_root_from_the_client")
def test_takes_a_root_from_the_client(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    fields = [(b"Daphne-Root-Path", b"/evil")]
    check(site.request("GET", "/x", fields, key=None), contract.NO_CREDENTIAL)
    assert site.request("GET", "/x", fields).status == 200
    prefix = upstream.last.one("x-forwarded-prefix")
    assert prefix == b"/evil" + site.public.encode()
    # It decides nothing but what the session is told of its own address.
    check(site.request("GET", "/bot", fields), contract.RESERVED_PATH)


@instead("fails_on_what_is_malformed")
def test_fails_on_what_is_malformed(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("GET", "/x", [(b"X\xb5A", b"a")])
    if portal.server == "granian":
        raw = site.raw("POST", "/x", [(b"Transfer-Encoding", b"chunked")]) + b"z\r\n"
    answer = portal.exchange(raw)
    assert answer.status == 500
    assert not answer.ours
    assert not any(each.end == "whole" and each.body for each in upstream.requests)
    assert site.idle()
