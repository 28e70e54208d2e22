"""A body is counted against what was declared and what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import Limits
from session_proxy_middleware.errors import BodyTooLarge, InternalError
from session_proxy_middleware.rules.body import BodyMeter
from tests.unit.crossing import refused, sent
from tests.unit.values import a_proxy, a_request, keyed


@given(st.lists(st.binary(max_size=10), min_size=1))
def test_a_body_of_the_declared_length_is_counted(pieces: list[bytes]) -> None:
    total = sum(map(len, pieces))
    meter = BodyMeter(total, total)
    for number, piece in enumerate(pieces, 1):
        meter.count(piece, number == len(pieces))
    assert meter.received == total


def test_a_body_is_whole_when_all_that_was_declared_has_come() -> None:
    meter = BodyMeter(5, None)
    meter.count(b"1234", False)
    assert not meter.whole
    meter.count(b"5", False)
    assert meter.whole
    unknown = BodyMeter(None, None)
    unknown.count(b"12345", False)
    assert not unknown.whole


def test_a_body_over_the_limit_is_told_at_the_first_byte_too_many() -> None:
    meter = BodyMeter(None, 5)
    meter.count(b"12345", False)
    with pytest.raises(BodyTooLarge):
        meter.count(b"6", False)


def test_a_body_without_a_limit_may_be_any_size() -> None:
    meter = BodyMeter(None, None)
    meter.count(b"x" * 100_000, True)
    assert meter.received == 100_000


@pytest.mark.parametrize(("piece", "ended"), [(b"1234", True), (b"123456", False)])
def test_a_body_that_is_not_what_was_declared_is_a_bug_of_the_host(
    piece: bytes, ended: bool
) -> None:
    with pytest.raises(InternalError, match="mount the proxy outermost"):
        BodyMeter(5, None).count(piece, ended)


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    proxy = a_proxy(limits=Limits(body=5))
    over = a_request(method="POST", headers=keyed((b"content-length", b"6")))
    fits = a_request(method="POST", headers=keyed((b"content-length", b"5")))
    assert refused(over, proxy) == (413, "body_too_large")
    assert sent(fits, proxy).length == 5
