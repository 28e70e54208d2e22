"""GHSA-95c6-p277-p87g: nothing about a key is known before its secret was hashed, and
nothing answers sooner for the one than for the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.exchange import exchange
from session_proxy_middleware.models import Reply
from session_proxy_middleware.rules import credential
from tests.unit.values import HOST_FIELD, ID, a_request

RIGHT = "pk_a_secret_of_ones_own_0123456789abcdef"


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (RIGHT, None),
        (RIGHT[:-1] + "X", 401),
        ("pk_never_there_0123456789abcdef012345678", 401),
        ("pk_expired_0123456789abcdef0123456789abc", 401),
        ("x", 401),
        ("x" * 4096, 401),
    ],
)
def test_each_token_is_hashed_whole_before_any_key_is_looked_for(
    token: str, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    store.keys.create(secret=RIGHT)
    store.keys.create(secret="pk_expired_0123456789abcdef0123456789abc", expires_at=1.0)
    store.sessions.register("bot", ID, "http://10.0.3.7:8080")
    steps: list[Any] = []
    monkeypatch.setattr(credential, "sha256", noted(steps, hashlib.sha256))
    monkeypatch.setattr(store.keys, "lookup", noted(steps, store.keys.lookup))
    proxy = SessionProxy(store)
    flow = exchange(
        a_request(headers=[HOST_FIELD, (b"authorization", f"Bearer {token}".encode())]),
        proxy,
    )
    reply = next(flow)
    flow.close()
    assert (reply.status if isinstance(reply, Reply) else None) == status
    assert steps == [token.encode(), hashlib.sha256(token.encode()).digest()]


def noted(steps: list[Any], work: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The same, and what it was given is kept."""

    def noting(value: bytes) -> Any:
        steps.append(value)
        return work(value)

    return noting
