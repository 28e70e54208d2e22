"""Everything goes wrong at once, and nobody gets what is another's."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from ..support.servers import Portal, Site
from ..support.upstream import Conn, response
from ..support.wire import PATIENCE, Broken, Wire, chunked
from .conftest import Serve
from .test_attacks_fuzz import no_trouble

SEED = 20_260_222
CLIENTS, ROUNDS = 32, 24
"""On the servers of the quick part; a third and a quarter on the others."""
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Who: %b\r\n\r\n"


def moody(conn: Conn) -> None:
    """Answers truly, and as its path says: whole, in pieces, cut off, reset, early,
    with bytes that nobody asked for, not at all."""
    while True:
        message = conn.request(body=False)
        mood, who = message.target.split(b"?")[0][1:].split(b"/")
        if mood != b"early":
            conn.body(message)
        whole = response(who + b"|" + message.body, headers=[(b"X-Who", who)])
        if mood == b"pieces":
            half = len(whole) // 2
            conn.send(whole[:half])
            conn.send(whole[half:])
        elif mood == b"stream":
            conn.send(STREAM % who + chunked(who, b"|", message.body or b"-"))
        elif mood == b"cut":
            conn.send(STREAM % who + chunked(who, last=False))
            return conn.finish()
        elif mood == b"reset":
            return conn.abort()
        elif mood == b"close":
            conn.send(whole)
            return conn.finish()
        elif mood == b"surplus":
            conn.send(whole + response(b"poison", headers=[(b"X-Who", b"poison")]))
        else:
            conn.send(whole)
            if mood == b"early" and message.has("content-length"):
                return conn.finish()


MOODS = ["ok", "pieces", "stream", "cut", "reset", "close", "surplus", "early"]


def one_client(sites: list[Site], number: int, rounds: int) -> int:
    """Requests of all kinds, some of them left; how many were answered in full."""
    generator = random.Random(SEED + number)
    answered = 0
    client: Wire | None = None
    for turn in range(rounds):
        site = generator.choice(sites)
        who = b"%d-%d" % (number, turn)
        method = generator.choice(["GET", "POST", "PUT", "HEAD", "DELETE"])
        path = f"/{generator.choice(MOODS)}/{who.decode()}"
        body = who * generator.randint(1, 4000) if method in ("POST", "PUT") else None
        raw = site.raw(method, path, None, body)
        client = client or site.portal.connect()
        try:
            if generator.random() < 0.2:  # Leave: in the upload, or before the answer.
                client.send(raw[: generator.randint(1, len(raw))])
                if generator.random() < 0.5:
                    linger = struct.pack("ii", 1, 0)
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                raise Broken
            client.send(raw)
            answer = client.response_head()
            if not site.portal.expected.breaks_off:
                client.sock.settimeout(0.5)
            client.body(answer, to=method)
            client.sock.settimeout(PATIENCE)
            if not answer.ours:
                assert answer.one("x-who") == who, (path, answer)
                assert (
                    answer.end != "whole"
                    or method == "HEAD"
                    or (answer.body.startswith(who + b"|"))
                ), (path, answer)
                answered += answer.end == "whole"
            if answer.end != "whole" or b"close" in answer.all("connection"):
                raise Broken
        except (Broken, OSError):
            client.close()
            client = None
    if client is not None:
        client.close()
    return answered


@pytest.mark.parametrize("via", ["wide", "httpx"])
def test_in_a_storm_of_failures_nobody_gets_what_is_anothers(
    portal: Portal, serve: Serve, via: str
) -> None:
    """GHSA-7vwr-g6pm-9hc8 (fastapi-proxy-lib) in the large: responses, bodies and
    connections that cross, once everything is cancelled, reset and reused."""
    sites = [portal.mount(serve(moody), via=via) for _ in range(4)]
    logged = len(portal.log)
    clients, rounds = (CLIENTS, ROUNDS) if portal.whole else (CLIENTS // 3, ROUNDS // 4)
    with ThreadPoolExecutor(clients) as pool:
        found = [
            pool.submit(one_client, sites, each, rounds) for each in range(clients)
        ]
    answered = sum(each.result() for each in found)
    print(f"{via}: {answered} of {clients * rounds} in full")
    for site in sites:
        with contextlib.suppress(Broken):
            assert site.request("GET", "/ok/last").body == b"last|"
    no_trouble(portal, sites[0], logged)
    assert answered > clients * rounds // 3
