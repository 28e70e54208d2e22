"""What is written is exactly one request, whatever it holds."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.errors import MalformedHeaders
from session_proxy_middleware.models import Headers
from session_proxy_middleware.upstream import h1
from tests.unit.values import an_outbound

NAMES = st.text("abc-019_", min_size=1, max_size=8).map(
    lambda text: f"x{text}".encode()
)
VALUES = st.binary(max_size=20)
TARGETS = st.binary(max_size=20).map(lambda data: b"/" + data)
TEXT = bytes([9, *range(32, 127), *range(128, 256)])


def parsed(data: bytes) -> list[h11.Event]:
    """Every event that an independent parser finds in it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    events: list[h11.Event] = []
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED):
            return events
        events.append(event)  # type: ignore[arg-type]


def fit(value: bytes) -> bytes:
    """What a field's value may be, as a parser gives it back."""
    return bytes(byte for byte in value if byte in TEXT).strip(b" \t")


@given(
    st.text("!#$%&'()*+,-./:;=?@[]_~%20azAZ09", max_size=20),
    st.lists(st.tuples(NAMES, VALUES.map(fit)), max_size=6),
    st.sampled_from([b"GET", b"POST", b"OPTIONS"]),
)
def test_an_independent_parser_reads_the_same_request(
    text: str, fields: Headers, method: bytes
) -> None:
    target = b"/" + text.encode()
    headers = [(b"host", b"a"), *fields]
    outbound = an_outbound(target, headers, method=method)
    request, end = parsed(h1.head(outbound) + h1.framing(outbound, None))
    assert isinstance(request, h11.Request)
    assert isinstance(end, h11.EndOfMessage)
    assert (request.method, request.target) == (method, target)
    assert list(request.headers) == [*headers, (b"x-request-id", b"request-1")]


@given(TARGETS, st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_no_input_makes_a_second_request(target: bytes, fields: Headers) -> None:
    outbound = an_outbound(target, [(b"host", b"a"), *fields])
    try:
        encoded = h1.head(outbound) + h1.framing(outbound, None)
    except MalformedHeaders:
        everything = target + b"".join(name + value for name, value in fields)
        assert set(everything) & {0, 10, 13}
        return
    assert encoded.count(b"\r\n\r\n") == 1
    assert encoded.endswith(b"\r\n\r\n")
    assert encoded.count(b"\n") == len(fields) + 4 == encoded.count(b"\r")


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\0", b"\r\n", b"\r\n\r\nGET / "])
@pytest.mark.parametrize("place", ["target", "name", "value", "id"])
def test_what_would_split_a_request_is_refused(place: str, bad: bytes) -> None:
    target = b"/x" + bad if place == "target" else b"/x"
    name = b"x" + bad if place == "name" else b"x"
    value = b"y" + bad if place == "value" else b"y"
    outbound = an_outbound(target, [(b"host", b"a"), (name, value)])
    if place == "id":
        outbound.request_id += bad
    with pytest.raises(MalformedHeaders):
        h1.head(outbound)


@pytest.mark.parametrize(
    ("has_body", "length", "expected"),
    [
        (False, None, b"\r\n"),
        (False, 0, b"content-length: 0\r\n\r\n"),
        (True, 7, b"content-length: 7\r\n\r\n"),
        (True, None, b"transfer-encoding: chunked\r\n\r\n"),
    ],
)
def test_a_body_has_one_framing_and_never_two(
    has_body: bool, length: int | None, expected: bytes
) -> None:
    outbound = an_outbound(has_body=has_body, length=length)
    assert h1.framing(outbound, outbound.length) == expected


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_chunks_are_read_back_as_the_same_body(pieces: list[bytes]) -> None:
    outbound = an_outbound(method=b"POST", headers=[(b"host", b"a")], has_body=True)
    head = h1.head(outbound) + h1.framing(outbound, None)
    data = b"".join(map(h1.chunk, pieces)) + h1.LAST_CHUNK
    events = parsed(head + data)
    body = b"".join(bytes(each.data) for each in events if isinstance(each, h11.Data))
    assert body == b"".join(pieces)
    assert isinstance(events[-1], h11.EndOfMessage)


@pytest.mark.parametrize(
    ("method", "has_body", "again"),
    [
        (b"GET", False, True),
        (b"HEAD", False, True),
        (b"OPTIONS", False, True),
        (b"GET", True, False),
        (b"POST", False, False),
        (b"PUT", False, False),
        (b"PATCH", False, False),
        (b"DELETE", False, False),
    ],
)
def test_only_a_safe_request_without_a_body_may_be_sent_twice(
    method: bytes, has_body: bool, again: bool
) -> None:
    assert h1.retryable(an_outbound(method=method, has_body=has_body)) is again


@pytest.mark.parametrize(
    ("method", "expected"),
    [(b"GET", b"\r\n"), (b"POST", b"content-length: 0\r\n\r\n")],
)
def test_a_body_that_turns_out_empty_is_said_only_where_that_means_something(
    method: bytes, expected: bytes
) -> None:
    """Over HTTP/2 nobody says beforehand whether a body follows."""
    outbound = an_outbound(method=method, has_body=True)
    assert h1.framing(outbound, 0) == expected
