"""What is behind a gateway: nothing, said in the contract's words."""

from __future__ import annotations

from typing import Any

import pytest

from session_proxy_middleware import ConfigError
from session_proxy_middleware.gateway import application


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def sent(scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the gateway sends for a path that is no session's."""
    monkeypatch.setenv("SESSION_PROXY_STORE", "sqlite:///never-opened.db")
    monkeypatch.setenv("SESSION_PROXY_CONTRACT", "strict")
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("no byte of a body is asked for")

    async def send(message: Any) -> None:
        messages.append(message)

    await application()({"path": "/elsewhere", **scope}, receive, send)
    return messages


@pytest.mark.anyio
async def test_a_websocket_is_refused_as_far_as_the_server_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scope: dict[str, Any] = {"type": "websocket"}
    assert await sent(scope, monkeypatch) == [{"type": "websocket.close"}]
    scope["extensions"] = {"websocket.http.response": {}}
    start, body = await sent(scope, monkeypatch)
    assert start["type"] == "websocket.http.response.start"
    assert (start["status"], body["body"]) == (
        404,
        b'{"error": "Not found", "code": "404"}',
    )


def test_without_a_store_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SESSION_PROXY_STORE", raising=False)
    monkeypatch.delenv("SESSION_PROXY_STORE_FILE", raising=False)
    with pytest.raises(ConfigError, match="SESSION_PROXY_STORE"):
        application()
