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

from session_proxy_middleware import SessionProxy

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


@pytest.mark.parametrize("option", inspect.signature(SessionProxy).parameters)
def test_the_table_of_options_has_every_option(option: str) -> None:
    assert f"| `{option}` |" in README


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
