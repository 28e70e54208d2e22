"""A hostile session: responses that split, that swallow the next, that never end.

Whatever it answers to one request, the client gets a whole answer, a broken one that
is seen to be broken, or one of the table's; and the next request gets its own answer.
"""

from __future__ import annotations

import contextlib
import threading

import pytest

from ..support import contract
from ..support.cases import Cases
from ..support.clocks import wait_until
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.strict import check_head
from ..support.upstream import Conn, Play, response
from ..support.wire import PATIENCE, Broken, Message
from .conftest import Serve

OK = b"HTTP/1.1 200 OK\r\n"
POISON = response(b"poison", headers=[(b"Set-Cookie", b"poison=1")])


def hostile(said: bytes) -> Play:
    """Say this to `/evil`, and answer what else comes on the same connection."""

    def play(conn: Conn) -> None:
        while True:
            target = conn.request().target
            if target == b"/evil":
                conn.send(said)
            else:
                conn.reply(b"to " + target)

    return play


def evil(site: Site, method: str = "GET") -> Message | None:
    """The answer to `/evil`, checked byte for byte; and the next requests get theirs.

    None where there was no answer at all, only a closed connection."""
    answer: Message | None = None
    with site.portal.connect() as client:
        try:
            client.send(site.raw(method, "/evil"))
            answer = client.response_head()
            if not site.portal.expected.breaks_off:
                client.sock.settimeout(0.5)
            client.body(answer, to=method)
        except TimeoutError:
            if answer is None or site.portal.expected.breaks_off:
                raise
            answer.end = "broken"  # As far as that server can.
        except (Broken, OSError):
            pass
        if answer is not None:
            check_head(answer.raw)
            assert not answer.has("set-cookie"), answer
            closes = b"close" in b"".join(answer.all("connection")).lower()
            if answer.end == "whole" and not closes:
                try:
                    client.send(site.raw("GET", "/same"))
                    assert client.answer().body == b"to /same"
                except (Broken, OSError):
                    assert not client.buffer
    for number in range(3):
        assert site.request("GET", f"/next{number}").body == b"to /next%d" % number
    return answer


def refused_or_broken(answer: Message | None) -> None:
    """502 before the head was passed on, a visible break after it."""
    if answer is None or answer.end in ("broken", "eof"):
        return
    check(answer, contract.PROTOCOL)


FRAMINGS = {
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n2\r\nok\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"
    b"\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\nok" + POISON,
    "two lengths, larger first": OK
    + b"Content-Length: 60\r\nContent-Length: 2\r\n\r\nok"
    + POISON,
    "listed lengths": OK + b"Content-Length: 2, 60\r\n\r\nok" + POISON,
    "a signed length": OK + b"Content-Length: +2\r\n\r\nok" + POISON,
    "a negative length": OK + b"Content-Length: -2\r\n\r\nok" + POISON,
    "a hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\nok" + POISON,
    "an empty length": OK + b"Content-Length:\r\n\r\nok" + POISON,
    "a length over 64 bits": OK
    + b"Content-Length: 18446744073709551618\r\n\r\nok"
    + POISON,
    "two numbers": OK + b"Content-Length: 2 60\r\n\r\nok" + POISON,
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nok" + POISON,
    "a NUL in the name": OK + b"Content-Length\x00: 2\r\n\r\nok" + POISON,
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nok" + POISON,
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + POISON,
    "chunked twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nok" + POISON,
    "xchunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + POISON,
    "chunked, empty": OK + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n" + POISON,
}


@pytest.mark.parametrize("via", ["", "httpx"])
def test_a_response_whose_end_can_be_read_in_two_ways(
    portal: Portal, serve: Serve, cases: Cases, via: str
) -> None:
    """RFC 9112 §6.3, §11.1: response splitting by framing."""

    def attack(how: str) -> None:
        answer = evil(portal.mount(serve(hostile(FRAMINGS[how])), via=via))
        assert answer is not None
        check(answer, contract.PROTOCOL)

    cases(FRAMINGS, attack)
    assert portal.settled()["in_flight"][via] == 0


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = {
    "plus": b"+2\r\nok\r\n0\r\n\r\n",
    "minus": b"-2\r\nok\r\n0\r\n\r\n",
    "0x": b"0x2\r\nok\r\n0\r\n\r\n",
    "over 64 bits": b"10000000000000002\r\nok\r\n0\r\n\r\n",
    "no line end after the data": b"2\r\nok0\r\n\r\n",
    "other bytes after the data": b"2\r\nokXX0\r\n\r\n",
    "bare CR": b"2\rok\r\n0\r\n\r\n",
    "no number": b"\r\nok\r\n0\r\n\r\n",
    "a NUL": b"2\x00\r\nok\r\n0\r\n\r\n",
    "a trailer that is none": b"2\r\nok\r\n0\r\nnonsense\r\n\r\n",
}


def test_chunks_that_can_be_read_in_two_ways(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """RFC 9112 §7.1; CVE-2025-43859."""

    def attack(how: str) -> None:
        said = CHUNKED + CHUNKS[how]
        refused_or_broken(evil(portal.mount(serve(hostile(said)))))

    cases(CHUNKS, attack)
    assert portal.settled()["in_flight"][""] == 0


@pytest.mark.parametrize(
    "trailer",
    [
        b"Set-Cookie: poison=1\r\nLocation: /poison\r\n",
        b"Connection: close, x-request-id\r\nUpgrade: h2c\r\n",
        b"Content-Length: 60\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
    ids=["cookie", "connection", "length", "coding"],
)
def test_a_trailer_sets_no_field(portal: Portal, serve: Serve, trailer: bytes) -> None:
    """RFC 9110 §6.5.1: merged into the head, a trailer sets a cookie unseen, or
    frames the response anew."""
    said = CHUNKED + b"2\r\nok\r\n0\r\n" + trailer + b"\r\n"
    answer = evil(portal.mount(serve(hostile(said))))
    if answer is None or answer.end == "broken" or answer.ours:
        # What frames has no place in a trailer, and may be refused there.
        assert b":" in trailer and not trailer.startswith((b"Set-Cookie", b"Conn"))
        refused_or_broken(answer)
    else:
        assert (answer.status, answer.body, answer.end) == (200, b"ok", "whole")
        assert not answer.has("location")


SPLITS = {
    "a folded field": OK + b"X-A: a\r\n Set-Cookie: poison=1\r\nContent-Length: 2"
    b"\r\n\r\nok",
    "a folded field with a tab": OK + b"X-A: a\r\n\tSet-Cookie: poison=1\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "a bare CR": OK + b"X-A: a\rSet-Cookie: poison=1\r\nContent-Length: 2\r\n\r\nok",
    "a NUL": OK + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "a DEL": OK + b"X-A: a\x7fb\r\nContent-Length: 2\r\n\r\nok",
    "a control": OK + b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    "a name with a space": OK + b"X A: a\r\nContent-Length: 2\r\n\r\nok",
    "no name": OK + b": a\r\nContent-Length: 2\r\n\r\nok",
    "a name beyond ASCII": OK + b"X-\xc3\xa9: a\r\nContent-Length: 2\r\n\r\nok",
    "a space before the name": OK + b" X-A: a\r\nContent-Length: 2\r\n\r\nok",
    "a CR in the reason": b"HTTP/1.1 200 OK\rX-A: a\r\nContent-Length: 2\r\n\r\nok",
    "a CR in a location": b"HTTP/1.1 302 Found\r\nLocation: /x\rSet-Cookie: poison=1"
    b"\r\nContent-Length: 2\r\n\r\nok",
    "a fold in a location": b"HTTP/1.1 302 Found\r\nLocation: /x\r\n "
    b"Set-Cookie: poison=1\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("via", ["", "httpx"])
def test_a_field_that_would_be_two_for_the_client(
    portal: Portal, serve: Serve, cases: Cases, via: str
) -> None:
    """RFC 9112 §5.2, §2.2, §11.1; CWE-113."""

    def attack(how: str) -> None:
        answer = evil(portal.mount(serve(hostile(SPLITS[how])), via=via))
        assert answer is not None
        if answer.ours:
            check(answer, contract.PROTOCOL)
        else:
            assert (answer.body, answer.end) == (b"ok", "whole")
            assert b"\x00" not in answer.raw

    cases(SPLITS, attack)
    assert portal.settled()["in_flight"][via] == 0


STARTS = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "small letters": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "no number": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "negative": b"HTTP/1.1 -200 OK\r\nContent-Length: 2\r\n\r\nok",
    "0": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
    "99": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "600": b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
    "999": b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n",
    "a 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
    b"Connection: upgrade\r\n\r\n" + POISON,
    "a 101 without fields": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + POISON,
    "a 101 after a 100": b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_beginning_that_no_response_has(
    portal: Portal, serve: Serve, cases: Cases, method: str
) -> None:
    """RFC 9112 §4; RFC 9110 §15.2.2: a 101 that nobody asked for."""

    def attack(how: str) -> None:
        answer = evil(portal.mount(serve(hostile(STARTS[how]))), method)
        assert answer is not None
        check(answer, contract.PROTOCOL, to=method)

    cases(STARTS, attack)
    assert portal.settled()["in_flight"][""] == 0


SURPLUS = {
    "a response": response(b"ok") + POISON,
    "half a response": response(b"ok") + b"HTTP/1.1 200 OK\r\nX: y\r\n",
    "a byte": response(b"ok") + b"x",
    "a line end": response(b"ok") + b"\r\n",
    "after chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + POISON,
    "an interim": response(b"ok") + b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "more than the length": OK + b"Content-Length: 2\r\n\r\nokpoison",
    "after a 204": b"HTTP/1.1 204 No Content\r\n\r\n" + POISON,
    "after a 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n" + POISON,
    "a 204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n"
    b"poison",
    "a 204 in chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n6\r\npoison\r\n0\r\n\r\n",
    "an interim with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 6\r\n\r\n"
    b"poison" + response(b"ok"),
    "an interim in chunks": b"HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\npoison\r\n0\r\n\r\n" + response(b"ok"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_bytes_that_nobody_asked_for_answer_nobody(
    portal: Portal, serve: Serve, cases: Cases, method: str
) -> None:
    """RFC 9112 §9.2: what comes without a request belongs to no request."""

    def attack(how: str) -> None:
        answer = evil(portal.mount(serve(hostile(SURPLUS[how]))), method)
        assert answer is not None
        if answer.ours:
            check(answer, contract.PROTOCOL, to=method)
        else:
            assert b"poison" not in answer.body

    cases(SURPLUS, attack)
    assert portal.settled()["in_flight"][""] == 0


def test_a_session_that_speaks_first_spoils_its_own_answers_alone(
    portal: Portal, serve: Serve
) -> None:
    """RFC 9112 §9.2. An answer that comes before its request can't be told from a fast
    one, so such a session may confuse its own clients, as it may anyhow; nobody
    else's, and nothing in the proxy."""

    def play(conn: Conn) -> None:
        conn.send(response(b"poison"))
        while True:
            conn.reply(b"poison " + conn.request().target)

    hostile_site, other = portal.mount(serve(play)), portal.mount(serve(hostile(b"")))
    for number in range(10):
        answer = hostile_site.request("GET", f"/{number}")
        if answer.ours:
            check(answer, contract.UNREACHABLE)
        else:
            assert answer.body.startswith(b"poison")
        assert other.request("GET", f"/{number}").body == b"to /%d" % number
    assert hostile_site.idle()


PIECE = b"a" * 16_384
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "interim responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
    "interim responses with fields": (b"", b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"),
    "fields": (OK, b"X-A: b\r\n" * 100),
    "one field": (OK + b"X-A: ", PIECE),
    "one name": (OK, PIECE),
    "a reason": (b"HTTP/1.1 200 ", PIECE),
    "lines before the start": (b"", b"\r\n" * 1000),
    "a chunk extension": (CHUNKED + b"2;", PIECE),
    "a quoted chunk extension": (CHUNKED + b'2;a="', PIECE),
    "a chunk size of zeros": (CHUNKED, b"0" * 16_384),
    "a chunk extension after a chunk": (CHUNKED + b"2\r\nok\r\n2;", PIECE),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\n", b"X-A: b\r\n" * 100),
    "one trailer": (CHUNKED + b"2\r\nok\r\n0\r\nX-A: ", PIECE),
    "one trailer name": (CHUNKED + b"2\r\nok\r\n0\r\n", PIECE),
}


def test_a_head_or_frame_without_end_is_given_up(
    portal: Portal, serve: Serve, cases: Cases
) -> None:
    """CWE-400; RFC 9112 §7.1.1 for extensions, of CVE-2023-39326's kind: nothing of it
    reaches the client, so no length of the body bounds it."""
    offered = 64 << 20

    def attack(what: str) -> None:
        first, then = ENDLESS[what]
        taken = []

        def play(conn: Conn) -> None:
            while (target := conn.request().target) != b"/evil":
                conn.reply(b"to " + target)
            conn.send(first)
            for _ in range(offered // len(then)):
                taken.append(len(then))
                conn.send(then)

        refused_or_broken(evil(portal.mount(serve(play))))
        # Given up after a bound, and not at the end of what was on offer: the rest is
        # what the kernel's buffers hold.
        assert sum(taken) < 16 << 20

    cases(ENDLESS, attack)
    assert portal.settled()["in_flight"][""] == 0


def test_memory_stays_where_it_is_while_sessions_flood(
    portal: Portal, serve: Serve
) -> None:
    """CWE-770."""
    floods = list(ENDLESS.values())

    def play(conn: Conn) -> None:
        first, then = floods[int(conn.request().target[1:])]
        conn.send(first)
        for _ in range((4 << 20) // len(then)):
            conn.send(then)

    site = portal.mount(serve(play), via="wide")
    flood(site, len(floods))
    before = portal.control("state")["memory"]
    for _ in range(5):
        flood(site, len(floods))
    assert portal.control("state")["memory"] - before < 24 << 20


def flood(site: Site, many: int) -> None:
    """Ask for each of the floods."""
    for number in range(many):
        with site.open("GET", f"/{number}") as client, contextlib.suppress(Broken):
            answer = client.response_head()
            if site.portal.expected.breaks_off:
                client.body(answer)
            else:  # Given up by the proxy, it is left open by that server.
                assert site.idle()


@pytest.mark.parametrize(
    "slowly",
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    ],
    ids=["fields", "bytes", "interim"],
)
def test_a_head_that_dribbles_in_is_not_waited_for(
    portal: Portal, serve: Serve, slowly: tuple[bytes, bytes]
) -> None:
    """Slowloris from the other side: `Timeouts.response` bounds the whole head."""

    def play(conn: Conn) -> None:
        conn.request()
        conn.send(slowly[0])
        while not conn.gone.wait(0.05):
            conn.send(slowly[1])

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    check(site.request(), contract.TIMEOUT)
    assert upstream.all_gone(1.0)


def test_tiny_chunks_cost_no_more_memory_than_large_ones(
    portal: Portal, serve: Serve
) -> None:
    """CWE-770: what waits for a client is bounded in bytes, and two of them kept as an
    object of their own are sixty."""
    sent = [0]

    def play(conn: Conn) -> None:
        conn.request()
        conn.send(CHUNKED)
        while True:
            conn.send(b"2\r\nok\r\n" * 1000)
            sent[0] += 1

    site = portal.mount(serve(play), via="wide")
    clients = 3 if portal.whole else 1
    before = portal.control("state")["memory"]
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(portal.connect(receive_buffer=4096))
            client.send(site.raw())
            assert client.response_head().status == 200
        wait_until(lambda: stands_still(sent), 6 * PATIENCE)
        grown = portal.control("state")["memory"] - before
    print(f"{grown / clients / 1e6:.1f} MB a client")
    assert grown < clients * (6 << 20)


def stands_still(sent: list[int]) -> bool:
    """Whether nothing more is taken from the sessions."""
    before = sent[0]
    return not threading.Event().wait(0.3) and sent[0] == before
