"""README's code runs, and what it mounts answers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import django
import httpx
import pytest
from django.conf import settings

from session_proxy_middleware import SessionProxy, WebSockets
from session_proxy_middleware.rules import handshake

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(
    r"^### ([^\n]+)\n(?:(?!^#).)*?```python\n(.*?)```", README, re.M | re.S
)
SESSION = "/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status"


def run(title: str) -> dict[str, Any]:
    if title == "Django" and not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=(), SECRET_KEY="readme")
        django.setup()
    code = dict(BLOCKS)[title]
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, f"README.md: {title}", "exec"), namespace)  # noqa: S102
    return namespace


@pytest.mark.parametrize("title", [title for title, _ in BLOCKS])
def test_every_code_block_runs(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # One of them makes a file.
    run(title)


def test_no_code_block_is_overlooked() -> None:
    assert README.count("```python") == len(BLOCKS)


@pytest.mark.parametrize(
    ("title", "name"), [("FastAPI", "app"), ("Django", "application")]
)
@pytest.mark.anyio
async def test_what_it_mounts_under_asgi_refuses_strangers(
    title: str, name: str
) -> None:
    transport = httpx.ASGITransport(app=run(title)[name])
    async with httpx.AsyncClient(
        transport=transport, base_url="http://portal"
    ) as client:
        reply = await client.get(SESSION)
    assert reply.status_code == 401
    assert reply.headers["x-session-proxy-error"] == "unauthenticated"


def test_mounted_under_wsgi_it_refuses_strangers() -> None:
    transport = httpx.WSGITransport(app=run("Flask")["app"])
    with httpx.Client(transport=transport, base_url="http://p") as client:
        reply = client.get(SESSION)
    assert reply.status_code == 401
    assert reply.headers["x-session-proxy-error"] == "unauthenticated"


@pytest.mark.parametrize("option", inspect.signature(SessionProxy).parameters)
def test_the_table_of_options_has_every_option(option: str) -> None:
    assert f"| `{option}` |" in README


@pytest.mark.parametrize("option", inspect.signature(WebSockets).parameters)
def test_the_section_on_websockets_has_every_option_and_its_default(
    option: str,
) -> None:
    namespace = run("WebSocket options")
    assert f"        {option}=" in dict(BLOCKS)["WebSocket options"]
    [row] = re.findall(r"^\| `websockets` \| (.+) \|.+\|$", README, re.M)
    default = getattr(WebSockets(), option)
    shown = f"{default:_}" if option == "max_message" else repr(default)
    assert f"{option}={shown}" in row
    assert isinstance(namespace["proxy"].websockets, WebSockets)


def test_the_page_in_it_says_its_key_as_the_proxy_takes_it() -> None:
    [block] = re.findall(r"```js\n(.*?)```", README, re.S)
    assert f'["{handshake.BEARER.decode()}" + key]' in block


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
