"""Fuzzing over real sockets, both sides. Every seed is fixed and printed."""

from __future__ import annotations

import random
import re
import socket
from concurrent.futures import ThreadPoolExecutor

from ..support.servers import Portal, Site, request
from ..support.strict import check_head, requests
from ..support.upstream import Conn, Upstream, response
from ..support.wire import Broken, Fields, Message, Wire, chunked
from .conftest import Serve
from .test_table import UNKNOWN

SEED = 20_260_222
WORKERS = 16
# What a bug leaves in a log, ours or the server's.
TROUBLE = ("Traceback", "never retrieved", "was destroyed but", "Exception in")


def mutated(generator: random.Random, raw: bytes) -> bytes:
    """A request with some bytes changed, doubled, cut or inserted."""
    data = bytearray(raw)
    if generator.random() < 0.5:  # Gently, so that it gets as far as the proxy.
        line = raw.index(b" HTTP/")
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(raw.index(b" ") + 1, line)
            data[at:at] = generator.choice(GENTLE)
        return bytes(data)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(data) or 1)
        choice = generator.randrange(5)
        if choice == 0:
            data[at : at + 1] = bytes([generator.randrange(256)])
        elif choice == 1:
            data[at:at] = generator.choice(INTERESTING)
        elif choice == 2:
            del data[at : at + generator.randint(1, 8)]
        elif choice == 3:
            data[at:at] = data[at : at + generator.randint(1, 30)]
        else:
            data[at:at] = generator.randbytes(generator.randint(1, 4))
    return bytes(data)


GENTLE = [
    *(b"%2e", b"%00", b";", b"/", b"%2F", b"%5c", b"%", b"?", b"&", b"%zz", b"."),
    *(b"@", b":", b"+", b"%E9", b"%FF", b"~", b"a", b"sessions", b"%25", b"=", b"//"),
    *(b"%3B", b"%3F", b"%23", b"%20", b"%0d%0a", b"!", b"'", b"*", b"|", b"[", b"{"),
]
INTERESTING = [
    *(b"%2e%2e/", b"%00", b"..;/", b"//", b"%2f", b"%5c", b"\\", b"\x00", b"\r\n"),
    *(b"\n", b"\r", b" ", b"\t", b":", b",", b"%", b"?", b"#", b"\xff", b"\xc3\xa9"),
    *(
        b"/bot",
        b"/sessions/",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
    ),
    *(b"Content-Length: 99999999999999999999\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\n"),
    *(b"Authorization: Bearer pk_test\r\n", b"Host: a\r\n", b"HTTP/1.0", b"HTTP/2.0"),
    *(
        b"<script>",
        b"X_Daily_Session_Id: x\r\n",
        b"Connection: close, x-request-id\r\n",
    ),
]


def seeds(site: Site) -> list[bytes]:
    fields: Fields = [(b"X-A", b"b"), (b"Cookie", b"a=b"), (b"Accept", b"*/*")]
    encoded = (b"Transfer-Encoding", b"chunked")
    return [
        site.raw("GET", "/x?a=b", fields),
        site.raw("POST", "/x/y", fields, b"hello"),
        site.raw("PUT", "/x", [*fields, encoded]) + b"5\r\nhello\r\n0\r\n\r\n",
        site.raw("DELETE", "/a%2Fb;c", fields),
        request("GET", f"/nobody/sessions/{UNKNOWN}/x", fields),
        request("HEAD", "/host/x", fields),
    ]


def fire(portal: Portal, raws: list[bytes]) -> list[int]:
    """Send each on a connection of its own; the statuses that came."""
    statuses = []
    for raw in raws:
        with Wire(socket.create_connection(portal.address)) as client:
            client.sock.settimeout(0.2)
            try:
                client.send(raw)
                head = client.response_head()
                statuses.append(head.status)
                assert b"<script>" not in head.raw
                bug = head.status == 500 and not portal.expected.fails_itself
                assert not bug and not (head.status == 500 and head.ours), (raw, head)
            except (OSError, Broken, ValueError, IndexError):
                statuses.append(0)
    return statuses


def test_ten_thousand_malformed_requests_do_no_harm(
    portal: Portal, upstream: Upstream
) -> None:
    """CVE-2024-21536 (http-proxy-middleware): one odd path ended the process. Five
    thousand to each driver, and some hundreds to each other server."""
    many = 5000 if portal.whole else 600
    site = portal.mount(upstream, via="wide")
    generator = random.Random(SEED)
    base = seeds(site)
    raws = [mutated(generator, generator.choice(base)) for _ in range(many)]
    logged = len(portal.log)
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = [raws[at::WORKERS] for at in range(WORKERS)]
        found = pool.map(lambda part: fire(portal, part), parts)
        statuses = [status for part in found for status in part]
    counted = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(f"seed {SEED}: {counted}")
    assert site.request().status == 200
    no_trouble(portal, site, logged)
    for conn in upstream.connections:
        for each in requests(bytes(conn.received)):
            assert each.all("x-daily-session-id") == [site.id.encode()]
            assert each.all("host") == [b"127.0.0.1:%d" % upstream.port]
            assert not re.match(rb"/+bot[/;?]*$", each.target, re.IGNORECASE)
            assert each.all("authorization") == []
    # Some got through: it is the forwarding that was tried, not only the parser.
    assert counted.get(200, 0) > many // 50


def no_trouble(portal: Portal, site: Site, logged: int) -> None:
    """The process lives, holds nothing, and has said nothing of a bug."""
    assert portal.alive
    assert site.idle()
    new = portal.log[logged:]
    if portal.expected.logs is not None:
        new = portal.expected.logs.sub("", new)
    for trouble in TROUBLE:
        assert trouble not in new, first_error(new)


RESPONSES = [
    response(b"hello", headers=[(b"Set-Cookie", b"a=b"), (b"Location", b"/x")]),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(b"hel", b"lo", last=False)
    + b"0\r\nX-T: a\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"
    + response(b"{}", status="404 Not Found", headers=[(b"Via", b"1.1 x")]),
    b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
    b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nto the end",
]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b",", b"\xff", b"0"),
    *(b"Content-Length: 3\r\n", b"Content-Length: 9999999\r\n", b"a" * 20_000),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n"),
    *(b"Connection: close, x-request-id\r\n", b"Upgrade: websocket\r\n", b"fffffff"),
    *(b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"HTTP/1.1 204 X\r\n\r\n"),
    *(b"Location: //\r\n", b"Location: http://[\r\n", b"Content-Location: \xff\r\n"),
    *(b"X-Session-Proxy-Error: a\r\n", b"Set-Cookie: \xff;;=\r\n", b" folded\r\n"),
]


def spoiled(generator: random.Random) -> bytes:
    """A response with some bytes changed, cut, doubled or put in."""
    data = bytearray(generator.choice(RESPONSES))
    for _ in range(generator.randint(0, 3)):
        at = generator.randrange(len(data) or 1)
        choice = generator.randrange(5)
        if choice == 0:
            data[at : at + 1] = generator.randbytes(1)
        elif choice == 1:
            data[at:at] = generator.choice(PIECES)
        elif choice == 2:
            line = data.find(b"\r\n", at) + 2
            data[line:line] = generator.choice(PIECES)
        elif choice == 3:
            del data[at : at + generator.randint(1, 12)]
        else:
            data[at:at] = data[at : at + generator.randint(1, 40)]
    return bytes(data)


SAID = {b"upstream_protocol", b"upstream_unreachable", b"upstream_timeout"}


def test_thousands_of_malformed_responses_do_no_harm(
    portal: Portal, serve: Serve
) -> None:
    """What the client gets is one of the table's answers, or bytes that RFC 9112
    allows; and the request after it gets its own answer."""
    generator = random.Random(SEED)
    many = 1500 if portal.whole else 300
    responses = [(spoiled(generator), generator.random()) for _ in range(many)]

    def play(conn: Conn) -> None:
        while True:
            target = conn.request().target
            if target.startswith(b"/good"):
                conn.reply(target)
                continue
            said, chance = responses[int(target[1:])]
            # In one piece: what comes after a whole response only once the next
            # request is out can't be told from an answer to that.
            conn.send(said)
            if chance < 0.8:
                conn.finish()

    site = portal.mount(serve(play), via="quick")
    logged = len(portal.log)

    def ask(first: int) -> list[int]:
        statuses = []
        for number in range(first, many, WORKERS):
            statuses.append(asked(site, number))
            good = site.request("GET", f"/good{number}")
            while good.status == 504:  # On a machine too busy for half a second.
                good = site.request("GET", f"/good{number}")
            assert good.body == b"/good%d" % number, (SEED, number, good)
        return statuses

    with ThreadPoolExecutor(WORKERS) as pool:
        statuses = [each for part in pool.map(ask, range(WORKERS)) for each in part]
    counted = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(f"seed {SEED}: {counted}")
    no_trouble(portal, site, logged)
    assert counted[200] > many // 30
    assert counted[502] > many // 30


def asked(site: Site, number: int) -> int:
    """The status of the answer, which is well formed; 0 where none came."""
    answer: Message | None = None
    with site.portal.connect() as client:
        try:
            client.send(site.raw("GET", f"/{number}"))
            answer = client.response_head()
            if not site.portal.expected.breaks_off:
                client.sock.settimeout(0.5)
            client.body(answer)
        except (OSError, Broken):
            if answer is None or site.portal.expected.breaks_off:
                return 0
    check_head(answer.raw)
    if answer.ours:
        assert answer.one("x-session-proxy-error") in SAID, (number, answer)
        assert answer.end == "whole"
    return answer.status


def first_error(log: str) -> str:
    """The part of a log that tells the most."""
    at = log.find("Traceback")
    return log[max(0, at - 300) : at + 3000]
