"""Many clients at once: nobody gets what is another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ..support.servers import Portal, Site
from ..support.upstream import Conn
from .conftest import Serve

CLIENTS = 100
ROUNDS, FEWER = 5, 2


def echo(conn: Conn) -> None:
    """Say back who asked, and set a cookie of theirs."""
    while True:
        message = conn.request()
        who = message.all("x-who")[0]
        said = b"; ".join(message.all("cookie"))
        conn.reply(
            b"%b|%b|%b|%b" % (who, said, message.target, message.body),
            headers=[(b"Set-Cookie", b"who=" + who), (b"X-Who", who)],
        )


def ask(site: Site, number: int) -> None:
    who = b"client-%d" % number
    body = who * (1 + number * 7)
    with site.portal.visit() as visit:
        for round in range(ROUNDS if site.portal.whole else FEWER):
            cookie = b"who=%b; round=%d" % (who, round)
            target = f"/{number}/{round}"
            fields = [(b"X-Who", who), (b"Cookie", cookie)]
            answer = visit(site.raw("POST", target, fields, body))
            assert answer.status == 200
            assert answer.one("x-who") == who
            assert answer.one("set-cookie") == b"who=" + who
            expected = b"|".join([who, cookie, target.encode(), body])
            assert answer.body == expected


@pytest.mark.parametrize("via", ["wide", "httpx-open"])
@pytest.mark.parametrize("sessions", [1, 10])
def test_nobody_gets_somebody_elses_response(
    portal: Portal, serve: Serve, via: str, sessions: int
) -> None:
    sites = [portal.mount(serve(echo), via=via) for _ in range(sessions)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = [
            pool.submit(ask, sites[number % sessions], number)
            for number in range(CLIENTS)
        ]
    for each in done:
        each.result()


@pytest.mark.parametrize("via", ["wide", "httpx-open"])
def test_a_cookie_that_one_client_was_given_is_sent_for_no_other(
    portal: Portal, serve: Serve, via: str
) -> None:
    """GHSA-7vwr-g6pm-9hc8 (fastapi-proxy-lib)."""
    upstream = serve(echo)
    site = portal.mount(upstream, via=via)
    first = site.request("GET", "/", [(b"X-Who", b"first")])
    assert first.one("set-cookie") == b"who=first"

    def second(number: int) -> None:
        with site.portal.connect() as client:
            client.send(site.raw("GET", f"/{number}", [(b"X-Who", b"second")]))
            assert client.answer().body.startswith(b"second||")

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(second, range(100)))
    assert len(upstream.requests) == 101
    assert not any(message.has("cookie") for message in upstream.requests)


def test_answers_on_one_connection_come_in_the_order_of_its_requests(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve(echo))
    other = portal.mount(serve(echo))
    with portal.connect() as client:
        raw = b"".join(
            each.raw("GET", f"/{number}", [(b"X-Who", b"%d" % number)])
            for number, each in enumerate([site, other] * 10)
        )
        client.send(raw)
        for number in range(20):
            assert client.answer().one("x-who") == b"%d" % number
