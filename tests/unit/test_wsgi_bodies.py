"""What a WSGI server gets as a body: however it is done with it, everything that the
request held is given back."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import DechunkedInput

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.models import Headers
from session_proxy_middleware.wsgi import SessionProxyMiddleware
from session_proxy_middleware.wsgi_client import body_stream
from tests.support.wire import chunked
from tests.unit.values import ID

HEADERS: Headers = [(b"content-type", b"text/plain")]


class Played:
    """A response whose pieces are there, one after the other."""

    def __init__(self, pieces: list[bytes], *, complete: bool) -> None:
        self.status = 200
        self.headers: Headers = HEADERS
        self.complete = complete
        self.pieces = pieces
        self.closed = False

    def read(self) -> bytes:
        data = self.pieces.pop(0)
        self.complete = not self.pieces
        return data

    def close(self) -> None:
        self.closed = True


class Transport:
    """Gives the one response that it has."""

    def __init__(self, response: Played) -> None:
        self._response = response

    def send(self, *_: object) -> Played:
        return self._response

    def close(self) -> None:
        """See `interfaces.Transport`."""


class Site:
    """The middleware, in front of one response."""

    def __init__(self, response: Played) -> None:
        store = MemoryStore()
        secret = store.keys.create().secret
        store.sessions.register("bot", ID, "http://10.0.3.7:8080")
        self.proxy = SessionProxy(store, transport=Transport(response))
        self._app = SessionProxyMiddleware(lambda *_: [], self.proxy)
        self._environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": f"/bot/sessions/{ID}/chat",
            "HTTP_AUTHORIZATION": f"Bearer {secret}",
        }

    def get(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._app(dict(self._environ), start_response)


def accepted(*_: object) -> None:
    """A `start_response`."""


def iterated(body: Any) -> None:
    assert [piece for piece in body if piece] == [b"one", b"two"]


def closed_early(body: Any) -> None:
    assert next(piece for piece in body if piece) == b"one"
    body.close()


def closed_at_once(body: Any) -> None:
    body.close()


def dropped(body: Any) -> None:
    """Not closed, as PEP 3333 asks, but forgotten."""


@pytest.mark.parametrize("done", [iterated, closed_early, closed_at_once, dropped])
def test_however_a_server_is_done_with_a_body_it_is_settled(
    done: Callable[[Any], None],
) -> None:
    response = Played([b"one", b"two"], complete=False)
    site = Site(response)
    body = site.get(accepted)
    assert site.proxy.limiter.in_flight == 1
    done(body)
    del body
    assert site.proxy.limiter.in_flight == 0
    assert response.closed is (done is not iterated)


def test_a_server_that_refuses_the_head_leaves_nothing_open() -> None:
    def refused(*_: object) -> None:
        raise ValueError("a status that this server does not know")

    response = Played([b"one"], complete=False)
    site = Site(response)
    with pytest.raises(ValueError, match="does not know"):
        site.get(refused)
    assert site.proxy.limiter.in_flight == 0
    assert response.closed


def test_a_whole_response_comes_in_one_piece_behind_its_head() -> None:
    heads: list[tuple[object, ...]] = []
    body = Site(Played([b"all of it"], complete=True)).get(
        lambda *head: heads.append(head)
    )
    assert [head[0] for head in heads] == ["200 OK"]  # Before anything is asked for.
    assert list(body) == [b"all of it"]


# As werkzeug's server serves it.
SERVED = {"wsgi.input_terminated": True, "werkzeug.socket": None}


@pytest.mark.parametrize("limit", [None, 100_000])
def test_of_a_chunk_that_breaks_off_no_more_is_read_than_came(
    limit: int | None,
) -> None:
    """werkzeug's stream says that it has read all of it, and `io.RawIOBase.read` then
    gives as much of the process's memory (CPython's gh-140607)."""
    raw = DechunkedInput(io.BytesIO(b"fffff\r\nabcd"))
    stream = body_stream({**SERVED, "wsgi.input": raw}, limit)
    with pytest.raises((ValueError, ClientDisconnected)):
        stream.read(65_536)


class Dribble(io.RawIOBase):
    """Gives what there is: two bytes at a time."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:2] = b"ab"
        return 2


def test_another_raw_stream_gives_what_there_is_and_stays_open() -> None:
    raw = Dribble()
    environ = {"wsgi.input": raw, "wsgi.input_terminated": True}
    assert body_stream(environ).read(65_536) == b"ab"
    assert not raw.closed


def test_a_body_in_chunks_is_read_whole() -> None:
    data = bytes(range(256)) * 1024
    raw = DechunkedInput(io.BytesIO(chunked(data[:70_000], data[70_000:])))
    stream = body_stream({**SERVED, "wsgi.input": raw})
    assert b"".join(iter(lambda: stream.read(65_536), b"")) == data
