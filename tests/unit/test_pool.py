"""Which idle connection is used again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.upstream.pool import KEEP_IDLE, Pool

A, B = ("http://a:1", 1), ("http://a:1", 2)


def test_the_newest_connection_is_used_first() -> None:
    pool: Pool[str] = Pool()
    for name in ("old", "new"):
        pool.give(A, name, 0.0)
    assert [pool.take(A, 1.0), pool.take(A, 1.0), pool.take(A, 1.0)] == [
        "new",
        "old",
        None,
    ]
    assert len(pool) == 0


def test_a_connection_is_only_for_its_own_epoch() -> None:
    pool: Pool[str] = Pool()
    pool.give(A, "a", 0.0)
    assert pool.take(B, 0.0) is None
    assert pool.take(A, 0.0) == "a"


def test_the_connections_to_one_session_are_removed_together() -> None:
    pool: Pool[str] = Pool()
    for key, name in ((A, "a1"), (B, "b"), (A, "a2")):
        pool.give(key, name, 0.0)
    assert sorted(pool.remove(A)) == ["a1", "a2"]
    assert pool.remove(A) == []
    assert pool.expired(KEEP_IDLE + 1) == ["b"]


def test_a_connection_idle_too_long_is_not_used_and_must_be_closed() -> None:
    pool: Pool[str] = Pool()
    pool.give(A, "a", 0.0)
    assert pool.take(A, KEEP_IDLE + 0.1) is None
    assert pool.expired(KEEP_IDLE) == []
    assert pool.expired(KEEP_IDLE + 0.1) == ["a"]
    assert len(pool) == 0


def test_the_oldest_above_the_maximum_must_be_closed() -> None:
    pool: Pool[str] = Pool(max_idle=2)
    for number in range(4):
        pool.give(A, f"{number}", 0.0)
    assert pool.expired(0.0) == ["0", "1"]
    assert pool.take(A, 0.0) == "3"


def test_the_oldest_are_those_of_all_keys() -> None:
    pool: Pool[str] = Pool(max_idle=1)
    for key, name, now in ((A, "a2", 0.2), (B, "b1", 0.1), (A, "a3", 0.3)):
        pool.give(key, name, now)
    assert pool.expired(0.3) == ["b1", "a2"]
    assert (pool.take(A, 0.3), len(pool)) == ("a3", 0)


def test_nothing_is_kept_of_sessions_without_connections() -> None:
    pool: Pool[int] = Pool()
    for number in range(100):
        pool.give(("http://a:1", number), number, 0.0)
        assert pool.take(("http://a:1", number), 0.0) == number
    assert pool.expired(0.0) == []
    assert pool._idle == {}


def test_a_connection_that_is_gone_is_forgotten() -> None:
    pool: Pool[str] = Pool()
    for name in ("first", "middle", "last"):
        pool.give(A, name, 0.0)
    pool.discard(A, "middle")
    pool.discard(A, "middle")
    pool.discard(A, "unknown")
    pool.discard(B, "last")
    assert [pool.take(A, 0.0), pool.take(A, 0.0)] == ["last", "first"]


def test_clearing_hands_everything_over() -> None:
    pool: Pool[str] = Pool()
    pool.give(A, "a", 0.0)
    pool.give(B, "b", 0.0)
    assert pool.clear() == ["a", "b"]
    assert (len(pool), pool.take(A, 0.0), pool.take(B, 0.0)) == (0, None, None)


@given(
    st.lists(
        st.tuples(st.sampled_from("gted"), st.sampled_from([A, B]), st.floats(0, 2))
    )
)
def test_no_connection_is_ever_handed_out_twice_or_to_another_key(
    steps: list[tuple[str, tuple[str, int], float]],
) -> None:
    pool: Pool[int] = Pool(max_idle=3)
    now, idle = 0.0, dict[int, tuple[tuple[str, int], float]]()
    for number, (step, key, passed) in enumerate(steps):
        now += passed
        if step == "g":
            pool.give(key, number, now)
            idle[number] = (key, now)
        elif step == "t":
            taken = pool.take(key, now)
            fresh = [
                n for n, (k, t) in idle.items() if k == key and now - t <= KEEP_IDLE
            ]
            assert taken == (fresh[-1] if fresh else None)
            idle.pop(taken if taken is not None else -1, None)
        elif step == "e":
            for old in pool.expired(now):
                _, since = idle.pop(old)
                assert now - since > KEEP_IDLE or len(idle) >= 3
            assert len(pool) <= 3
        elif idle:
            gone = next(iter(idle))
            pool.discard(idle[gone][0], gone)
            del idle[gone]
        assert len(pool) == len(idle)
