"""Request smuggling: a client's bytes that two parsers could read in two ways.

Each attack hides a request without a key. The proxy would refuse it, so if it shows
up at the session, two parsers have disagreed. What does reach the session is read by
`support.strict`, which forgives nothing.
"""

from __future__ import annotations

from itertools import product

import pytest

from ..support.cases import Cases
from ..support.servers import Portal, Site, request
from ..support.strict import Arrived, requests
from ..support.upstream import Upstream
from ..support.wire import Broken, Message
from .conftest import Serve

HIDDEN = b"/hidden"
PATIENCE = 0.2
"""Seconds for an answer. A server that still waits for a body gives none."""


Target = tuple[Site, Upstream]
"""A session of one case's own."""


def fire(site: Site, raw: bytes) -> list[int]:
    """Send the bytes; the statuses that were answered, none of them that of a bug."""
    answers: list[Message] = []
    with site.portal.connect() as client:
        client.sock.settimeout(PATIENCE)
        try:
            client.send(raw)
            while True:
                answers.append(client.answer())
        except (OSError, Broken, ValueError, IndexError):
            pass  # No further answer, or one that this server words its own way.
    fine = {501, 505, 500} if site.portal.expected.fails_itself else {501, 505}
    for each in answers:
        assert each.status < 500 or (each.status in fine and not each.ours), each
    return [each.status for each in answers]


def arrived(site: Site, upstream: Upstream) -> list[Arrived]:
    """Every request that reached the session, each one the proxy's own."""
    found = [
        each
        for conn in list(upstream.connections)
        for each in requests(bytes(conn.received))
    ]
    for each in found:
        assert each.target != HIDDEN, each
        assert each.all("x-daily-session-id") == [site.id.encode()], each
        assert each.all("host") == [b"127.0.0.1:%d" % upstream.port], each
        assert len(each.all("via")) == 1, each
        assert each.all("authorization") == [], each
    return found


def lines(site: Site, *fields: bytes, method: str = "POST") -> bytes:
    """A head with these lines in it, byte for byte."""
    raw = site.raw(method, "/x").removesuffix(b"\r\n")
    return raw + b"".join(line + b"\r\n" for line in fields) + b"\r\n"


def hidden() -> bytes:
    """The request that nobody may see. To whom it is a request at all it is the last
    one, so that nobody waits for more."""
    return request("GET", HIDDEN, [(b"Connection", b"close")], key=None)


CODINGS = {
    "as it should be": (b"Transfer-Encoding: chunked",),
    "twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "twice, one unknown": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"),
    "twice, unknown first": (b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"),
    "listed twice": (b"Transfer-Encoding: chunked, chunked",),
    "then identity": (b"Transfer-Encoding: chunked, identity",),
    "after identity": (b"Transfer-Encoding: identity, chunked",),
    "after gzip": (b"Transfer-Encoding: gzip, chunked",),
    "empty": (b"Transfer-Encoding: ",),
    "comma after": (b"Transfer-Encoding: chunked,",),
    "comma before": (b"Transfer-Encoding: , chunked",),
    "parameter": (b"Transfer-Encoding: chunked;q=1",),
    "quoted": (b'Transfer-Encoding: "chunked"',),
    "capitals": (b"Transfer-Encoding: CHUNKED",),
    "odd capitals": (b"tRANSFER-eNCODING: chuNKed",),
    "xchunked": (b"Transfer-Encoding: xchunked",),
    "chunkedx": (b"Transfer-Encoding: chunkedx",),
    "tab": (b"Transfer-Encoding:\tchunked",),
    "vertical tab": (b"Transfer-Encoding: \x0bchunked",),
    "form feed": (b"Transfer-Encoding: chunked\x0c",),
    "no-break space": (b"Transfer-Encoding: \xa0chunked",),
    "NUL": (b"Transfer-Encoding: chunked\x00",),
    "space before colon": (b"Transfer-Encoding : chunked",),
    "tab before colon": (b"Transfer-Encoding\t: chunked",),
    "NUL in name": (b"Transfer-Encoding\x00: chunked",),
    "space before name": (b" Transfer-Encoding: chunked",),
    "underscore": (b"Transfer_Encoding: chunked",),
    "folded value": (b"Transfer-Encoding:", b" chunked"),
    "folded after": (b"X-A: b", b" Transfer-Encoding: chunked"),
    "bare LF": (b"X-A: b\nTransfer-Encoding: chunked",),
    "bare CR": (b"X-A: b\rTransfer-Encoding: chunked",),
    "LF CR": (b"X-A: b\n\rTransfer-Encoding: chunked",),
    "named by Connection": (
        b"Connection: transfer-encoding",
        b"Transfer-Encoding: chunked",
    ),
    "in TE": (b"TE: chunked",),
    "in Content-Encoding": (b"Content-Encoding: chunked",),
}


def test_a_transfer_coding_that_one_parser_sees_and_another_does_not(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §6.1, §6.3; CVE-2026-2835 (pingora), CVE-2024-1135 (gunicorn)."""
    lengths = {"te": 0, "te+cl": 1, "cl+te": -1}
    named = {
        f"{how}, {beside}, {version}": (CODINGS[how], lengths[beside], version)
        for how, beside, version in product(CODINGS, lengths, ("1.1", "1.0"))
    }

    def attack(case: str) -> Target:
        coding, beside, version = named[case]
        fields = [*coding]
        if beside:
            fields.insert(len(fields) if beside > 0 else 0, b"Content-Length: 4")
        upstream = serve()
        site = portal.mount(upstream)
        raw = lines(site, *fields).replace(b"1.1\r\n", version.encode() + b"\r\n", 1)
        # To whom it is chunked, the body is empty; to whom four bytes, it is "0".
        fire(site, raw + b"0\r\n\r\n" + hidden())
        return site, upstream

    def check(case: str) -> None:
        found = arrived(*attacked[case])
        for each in found:
            assert each.target == b"/x"
            assert each.body in (b"", b"0\r\n\r")
        assert found or case != "as it should be, te, 1.1"

    attacked = cases(named, attack)
    assert attacked["as it should be, te, 1.1"][0].idle()
    cases(attacked, check)


LENGTHS = {
    "as it should be": (b"Content-Length: 4",),
    "twice the same": (b"Content-Length: 4", b"Content-Length: 4"),
    "twice, differing": (b"Content-Length: 4", b"Content-Length: 40"),
    "twice, zero first": (b"Content-Length: 0", b"Content-Length: 40"),
    "listed": (b"Content-Length: 4, 4",),
    "listed, differing": (b"Content-Length: 4, 40",),
    "plus": (b"Content-Length: +4",),
    "minus": (b"Content-Length: -4",),
    "minus zero": (b"Content-Length: -0",),
    "hexadecimal": (b"Content-Length: 0x4",),
    "exponent": (b"Content-Length: 4e1",),
    "fraction": (b"Content-Length: 4.0",),
    "grouped": (b"Content-Length: 4_0",),
    "two numbers": (b"Content-Length: 4 0",),
    "leading zeros": (b"Content-Length: 0000000004",),
    "other digits": ("Content-Length: ٤".encode(),),
    "superscript": ("Content-Length: ⁴".encode(),),
    "empty": (b"Content-Length:",),
    "NUL": (b"Content-Length: 4\x00",),
    "vertical tab": (b"Content-Length: \x0b4",),
    "semicolon": (b"Content-Length: 4;",),
    "over 64 bits": (b"Content-Length: 18446744073709551620",),
    "over 63 bits": (b"Content-Length: 9223372036854775812",),
    "digits without end": (b"Content-Length: " + b"4" * 5000,),
    "underscore": (b"Content_Length: 40", b"Content-Length: 4"),
    "space before colon": (b"Content-Length : 40", b"Content-Length: 4"),
    "space before name": (b"X-A: b", b" Content-Length: 40"),
    "folded": (b"Content-Length:", b" 4"),
    "bare LF": (b"X-A: b\nContent-Length: 4",),
    "bare CR": (b"X-A: b\rContent-Length: 4",),
    "named by Connection": (b"Connection: content-length", b"Content-Length: 4"),
}


def test_a_length_that_one_parser_reads_and_another_does_not(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §6.3; CVE-2025-32996 and CVE-2025-32997 (http-proxy-middleware)."""

    def attack(how: str) -> Target:
        upstream = serve()
        site = portal.mount(upstream)
        for method in ("POST", "GET"):
            raw = lines(site, *LENGTHS[how], method=method)
            fire(site, raw + b"abcd" + hidden())
        return site, upstream

    def check(how: str) -> None:
        found = arrived(*attacked[how])
        for each in found:
            assert each.target == b"/x"
            # Four bytes, or none; or a request that broke off, and says so by that.
            assert not each.whole or each.body in (b"", b"abcd"), each
        assert len(found) == 2 or how != "as it should be"

    attacked = cases(LENGTHS, attack)
    assert attacked["as it should be"][0].idle()
    cases(attacked, check)


CHUNKS = {
    "as it should be": b"4\r\nabcd\r\n0\r\n\r\n",
    "extension": b"4;a=b\r\nabcd\r\n0\r\n\r\n",
    "quoted extension": b'4;a="b\\"c"\r\nabcd\r\n0\r\n\r\n',
    "extension of 100 KB": b"4;" + b"a" * 100_000 + b"\r\nabcd\r\n0\r\n\r\n",
    "extension with a bare LF": b"4;a\nabcd\r\n0\r\n\r\n",
    "extension with a line in it": b'4;a="\r\nabcd\r\n0\r\n\r\n"\r\n',
    "extension on the last": b"4\r\nabcd\r\n0;a=b\r\n\r\n",
    "bare LF": b"4\nabcd\n0\n\n",
    "bare LF after the size": b"4\nabcd\r\n0\r\n\r\n",
    "bare LF after the data": b"4\r\nabcd\n0\r\n\r\n",
    "bare LF after the last": b"4\r\nabcd\r\n0\n\r\n",
    "bare LF at the end": b"4\r\nabcd\r\n0\r\n\n",
    "bare CR": b"4\rabcd\r\n0\r\n\r\n",
    "two CR": b"4\r\r\nabcd\r\n0\r\n\r\n",
    "no line end after the data": b"4\r\nabcd0\r\n\r\n",
    "other bytes after the data": b"4\r\nabcdXX0\r\n\r\n",
    "plus": b"+4\r\nabcd\r\n0\r\n\r\n",
    "minus": b"-4\r\nabcd\r\n0\r\n\r\n",
    "0x": b"0x4\r\nabcd\r\n0\r\n\r\n",
    "grouped": b"0_4\r\nabcd\r\n0\r\n\r\n",
    "space before": b" 4\r\nabcd\r\n0\r\n\r\n",
    "space after": b"4 \r\nabcd\r\n0\r\n\r\n",
    "tab after": b"4\t\r\nabcd\r\n0\r\n\r\n",
    "NUL after": b"4\x00\r\nabcd\r\n0\r\n\r\n",
    "leading zeros": b"0000000000000004\r\nabcd\r\n0\r\n\r\n",
    "many zeros": b"0" * 200 + b"4\r\nabcd\r\n0\r\n\r\n",
    "over 64 bits": b"10000000000000004\r\nabcd\r\n0\r\n\r\n",
    "just 64 bits": b"ffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
    "more than comes": b"fffff\r\nabcd",
    "empty size": b"\r\nabcd\r\n0\r\n\r\n",
    "no hexadecimal": b"g\r\nabcd\r\n0\r\n\r\n",
    "trailers": b"4\r\nabcd\r\n0\r\nX-Trailer: a\r\n\r\n",
    "trailers that frame": b"4\r\nabcd\r\n0\r\nContent-Length: 40\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "trailers that lie": b"4\r\nabcd\r\n0\r\nHost: evil\r\nX-Daily-Session-Id: evil\r\n"
    b"Authorization: Bearer pk_second\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    "a trailer that is none": b"4\r\nabcd\r\n0\r\nnonsense\r\n\r\n",
    "a trailer with a bare LF": b"4\r\nabcd\r\n0\r\nA: b\n\r\n",
}


def test_chunks_that_one_parser_reads_and_another_does_not(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §7.1; CVE-2025-43859 (h11), CVE-2025-53643 (aiohttp)."""

    def attack(how: str) -> Target:
        upstream = serve()
        site = portal.mount(upstream)
        raw = lines(site, b"Transfer-Encoding: chunked")
        fire(site, raw + CHUNKS[how] + hidden())
        return site, upstream

    def check(how: str) -> None:
        found = arrived(*attacked[how])
        for each in found:
            assert each.target == b"/x"
            # Of a chunk that ends too soon, what came of it and not a byte more.
            sent = (CHUNKS[how] + hidden()).partition(b"abcd")[2]
            came = (b"abcd" + sent).startswith(each.body)
            assert each.body == b"abcd" or (not each.whole and came), each
            assert b"6.6.6.6" not in b"".join(each.all("x-forwarded-for"))
        assert found or how != "as it should be"

    attacked = cases(CHUNKS, attack)
    assert attacked["as it should be"][0].idle()
    cases(attacked, check)


STARTS = {
    "as it should be": b"GET %b/x HTTP/1.1\r\n",
    "two spaces": b"GET  %b/x HTTP/1.1\r\n",
    "tab": b"GET\t%b/x HTTP/1.1\r\n",
    "space at the end": b"GET %b/x HTTP/1.1 \r\n",
    "space in the target": b"GET %b/x y HTTP/1.1\r\n",
    "a request in the target": b"GET %b/x HTTP/1.1 GET /hidden HTTP/1.1\r\n",
    "bare LF": b"GET %b/x HTTP/1.1\n",
    "bare CR": b"GET %b/x HTTP/1.1\r",
    "CR in the target": b"GET %b/x\rA: b HTTP/1.1\r\n",
    "LF in the target": b"GET %b/x\nA: b HTTP/1.1\r\n",
    "NUL in the target": b"GET %b/x\x00 HTTP/1.1\r\n",
    "no version": b"GET %b/x\r\n",
    "0.9": b"GET %b/x HTTP/0.9\r\n",
    "1.2": b"GET %b/x HTTP/1.2\r\n",
    "1.10": b"GET %b/x HTTP/1.10\r\n",
    "2.0": b"GET %b/x HTTP/2.0\r\n",
    "small letters": b"GET %b/x http/1.1\r\n",
    "lines before": b"\r\n\r\nGET %b/x HTTP/1.1\r\n",
    "space before": b" GET %b/x HTTP/1.1\r\n",
    "a field before": b"X: y\r\nGET %b/x HTTP/1.1\r\n",
    "folded": b"GET %b/x\r\n HTTP/1.1\r\n",
    "a NUL in the method": b"G\x00ET %b/x HTTP/1.1\r\n",
    "a colon in the method": b"GET: %b/x HTTP/1.1\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET %b/x HTTP/1.1\r\n",
}


def test_a_request_line_that_can_be_read_in_two_ways(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §3, §2.2."""

    def attack(how: str) -> Target:
        upstream = serve()
        site = portal.mount(upstream)
        rest = site.raw("GET", "/x").partition(b"\r\n")[2]
        raw = STARTS[how] % site.public.encode() + rest
        fire(site, raw + hidden())
        return site, upstream

    def check(how: str) -> None:
        found = arrived(*attacked[how])
        assert len(found) <= 1
        for each in found:
            assert (each.method, each.body) == (b"GET", b"")
            assert each.target.startswith(b"/x")
        assert found or how != "as it should be"

    attacked = cases(STARTS, attack)
    assert attacked["as it should be"][0].idle()
    cases(attacked, check)


FIELDS = {
    "as it should be": b"X-A: a",
    "folded": b"X-A: a\r\n b",
    "folded with a request": b"X-A: a\r\n GET /hidden HTTP/1.1",
    "folded at once": b" X-A: a",
    "no colon": b"X-A",
    "no name": b": a",
    "an empty line of a bare LF": b"X-A: a\n",
    "a head that ends with bare LF": b"X-A: a\n\nGET /hidden HTTP/1.1\nX: y",
    "a head that ends with bare CR": b"X-A: a\r\rGET /hidden HTTP/1.1\rX: y",
    "a vertical tab": b"X-A: a\x0bX-B: b",
    "a second Host": b"Host: evil",
    "a Host in small letters": b"host: evil",
    "a Host with a space": b"Host : evil",
    "a request in a value": b"X-A: a\\r\\n\\r\\nGET /hidden HTTP/1.1",
    "HTTP/2 upgrade": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "an unknown upgrade": b"Connection: upgrade\r\nUpgrade: foo",
    "Expect twice": b"Expect: 100-continue\r\nExpect: 100-continue",
    "an unknown Expect": b"Expect: 200-ok",
    "a padded Expect": b"Expect:\t100-continue ",
    "Expect listed": b"Expect: 100-continue, x",
}


def test_a_field_that_can_be_read_in_two_ways(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §5; CVE-2026-2833 (pingora: bytes after an upgrade nobody took)."""
    bodies = {"no body": b"", "body": b"abcd"}
    named = {
        f"{how}, {kind}": (FIELDS[how], bodies[kind])
        for how, kind in product(FIELDS, bodies)
    }

    def attack(case: str) -> Target:
        field, body = named[case]
        upstream = serve()
        site = portal.mount(upstream)
        fields = [field, b"Content-Length: 4"] if body else [field]
        raw = lines(site, *fields, method="POST" if body else "GET")
        fire(site, raw + body + hidden())
        return site, upstream

    def check(case: str) -> None:
        found = arrived(*attacked[case])
        for each in found:
            assert each.target == b"/x"
            assert each.all("upgrade") == each.all("http2-settings") == []
            assert each.all("expect") == []
            # Under an upgrade uvicorn takes what follows for the other protocol.
            assert not each.whole or each.body in (b"", named[case][1]), each
        assert found or not case.startswith("as it should be")

    attacked = cases(named, attack)
    assert attacked["as it should be, body"][0].idle()
    cases(attacked, check)


def test_a_hundred_pipelined_requests_arrive_as_a_hundred(
    site: Site, upstream: Upstream
) -> None:
    """RFC 9112 §9.3.2."""
    raw = b"".join(
        site.raw("POST", f"/{number}", body=b"%d" % number)
        if number % 2
        else site.raw("GET", f"/{number}")
        for number in range(100)
    )
    with site.portal.connect() as client:
        client.send(raw)
        assert [client.answer().status for _ in range(100)] == [200] * 100
    found = arrived(site, upstream)
    assert [each.target for each in found] == [b"/%d" % n for n in range(100)]
    assert [each.body for each in found[1::2]] == [b"%d" % n for n in range(1, 100, 2)]


@pytest.mark.parametrize("key", ["pk_wrong", "pk_test"])
def test_a_refused_upload_does_not_become_the_next_request(
    site: Site, upstream: Upstream, key: str
) -> None:
    """CVE-2026-2836, CVE-2025-4366 (pingora): what was refused unread may not be
    parsed as a request, nor keep the next from being parsed."""
    body = request("POST", "/hidden", body=b"x")
    path = "/bot" if key == "pk_test" else "/x"
    for expect in ([], [(b"Expect", b"100-continue")]):
        raw = site.raw("POST", path, expect, body, key=key)
        statuses = fire(site, raw + site.raw("GET", "/next"))
        assert statuses[0] in (401, 404)
        assert statuses[1:] in ([], [200]), statuses
    assert {each.target for each in arrived(site, upstream)} <= {b"/next"}
