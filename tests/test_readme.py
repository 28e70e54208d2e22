"""README's code runs, and what it mounts answers."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import django
import httpx
import pytest
from django.conf import settings

from session_proxy_middleware import SessionProxy, WebSockets
from session_proxy_middleware.admin.openapi import OPERATIONS
from session_proxy_middleware.admin.operation import Operation
from session_proxy_middleware.rules import handshake

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(
    r"^### ([^\n]+)\n(?:(?!^#).)*?```python\n(.*?)```", README, re.M | re.S
)
ADMIN_KEY = "adm_0123456789abcdef0123456789abcdef"
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
    monkeypatch.setenv("SESSION_PROXY_ADMIN_KEY", ADMIN_KEY)
    run(title)


def test_no_code_block_is_overlooked() -> None:
    assert README.count("```python") == len(BLOCKS)


def test_the_command_line_does_what_is_said(tmp_path: Path) -> None:
    """All of that section in one shell; the gateway, which would not end, is left out
    of it and started by the test below."""
    section = README.partition("\n## Command line\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    assert len(blocks) == 4
    lines = [block for block in blocks if not block.startswith(SERVE)]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=shell(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "imported 1; 0 were there already" in done.stdout
    assert "outcome  forwarded" in done.stdout
    assert (tmp_path / "keys.jsonl").read_text().count("digest") == 1


def test_the_gateway_that_is_shown_starts(tmp_path: Path) -> None:
    (line,) = re.findall(rf"^{SERVE}[^\n]*", README, re.M)
    line = line.replace("--port 8000", "--port 0")
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            shlex.split(line),
            env={**shell(), "SESSION_PROXY_STORE": f"sqlite:///{tmp_path}/s.db"},
            stderr=written,
        )
    end = time.monotonic() + 30
    while log.read_text().count("Application startup complete") < 2:
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 0


SERVE = "session-proxy serve"


def shell() -> dict[str, str]:
    """The environment of somebody who has installed the package."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SESSION_PROXY_")
    }
    return {**clean, "PATH": path}


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


@pytest.fixture
def admin_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_PROXY_ADMIN_KEY", ADMIN_KEY)
    return {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.mark.parametrize(
    ("title", "mount"),
    [
        ("Admin API by itself", ""),
        ("Admin API in a FastAPI application", "/internal/admin"),
    ],
)
@pytest.mark.anyio
async def test_the_admin_api_under_asgi_answers_whoever_has_its_key(
    title: str, mount: str, admin_key: dict[str, str]
) -> None:
    transport = httpx.ASGITransport(app=run(title)["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://p") as client:
        answer = await client.get(mount + "/services", headers=admin_key)
        refused = await client.get(mount + "/services")
    assert (answer.status_code, refused.status_code) == (200, 401)


def test_the_admin_api_under_wsgi_answers_whoever_has_its_key(
    admin_key: dict[str, str],
) -> None:
    app = run("Admin API in a Flask application")["app"]
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://p") as client:
        answer = client.get("/internal/admin/services", headers=admin_key)
        refused = client.get("/internal/admin/services")
    assert (answer.status_code, refused.status_code) == (200, 401)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_the_table_of_the_admin_api_has_every_operation(operation: Operation) -> None:
    table = README.partition("### Admin API operations")[2].partition("\nLists")[0]
    path = re.sub(r"{\w+_id}", "{id}", operation.path)
    below = "/" + path.rpartition("/")[2]
    rows = [
        row
        for row in table.splitlines()
        if f"`{path}`" in row or (f"`{below}`" in row and "{id}/" in row)
    ]
    assert any(operation.method in row for row in rows)
    for member in operation.members or {}:
        assert any(f'"{member}"' in row for row in rows), member


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
    assert f'"{handshake.BEARER.decode()}" + key]' in block


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
