"""How the command starts, and how it says that it can't."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import session_proxy_middleware
from session_proxy_middleware.cli import main
from session_proxy_middleware.demo.children import DemoError
from session_proxy_middleware.demo.stage import portal_socket

from .running import COMMAND, Demo

PACKAGES = (
    "session_proxy_middleware",
    "asgiref",
    "httptools",
    "werkzeug",
    "markupsafe",
)


@pytest.fixture
def only_the_package(tmp_path: Path) -> dict[str, str]:
    """The environment of an interpreter that has the package without its extras."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        (tmp_path / name).symlink_to(Path(spec.origin).parent)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["demo"], "fastapi, uvicorn, websockets", "demo"),
        (
            ["demo", "--check", "--wsgi"],
            "fastapi, uvicorn, flask, gunicorn",
            "demo",
        ),
        (["serve"], "uvicorn", "server"),
    ],
)
def test_without_the_extra_the_command_names_it(
    only_the_package: dict[str, str], arguments: list[str], missing: str, extra: str
) -> None:
    # -S: without site-packages.
    done = subprocess.run(
        [sys.executable, "-S", *COMMAND[1:-1], *arguments],
        env=only_the_package,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"session-proxy: {arguments[0]} needs {missing}: "
        f'pip install "session-proxy-middleware[{extra}]"\n'
    )


def test_a_taken_port_is_an_error_that_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"session-proxy: cannot listen on port {port}: Address already in use\n"
    )


@pytest.mark.parametrize("port", ["65536", "-1", "http", "٣"])
def test_what_is_no_port_is_refused(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["demo", f"--port={port}"])
    assert exited.value.code == 2
    assert f"'{port}' is not a port (0 to 65535)" in capsys.readouterr().err


def test_without_a_port_asked_for_any_free_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("session_proxy_middleware.demo.stage.PORT", port)
        with portal_socket(None) as other:
            assert other.getsockname()[1] != port
        with pytest.raises(DemoError):
            portal_socket(port)
    with portal_socket(None) as free:
        assert free.getsockname() == ("127.0.0.1", port)


def test_without_a_command_the_usage_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "usage: session-proxy" in capsys.readouterr().err


def test_a_child_that_dies_at_start_is_shown_with_what_it_printed(
    tmp_path: Path,
) -> None:
    (tmp_path / "fastapi.py").write_text("raise RuntimeError('broken installation')")
    source = Path(session_proxy_middleware.__file__).parents[1]
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(source)])}
    with Demo(tmp_path, environment=environment) as demo:
        assert demo.process.wait(20) == 1
        assert "session-proxy: bot-1 did not start" in demo.output
        assert "RuntimeError: broken installation" in demo.output
