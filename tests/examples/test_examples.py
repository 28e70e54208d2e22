"""Each example as its first lines say, behind the server that they name."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from ..browser.chromium import chromium

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["django_asgi", "django_wsgi", "fastapi_app", "flask_app"]
SESSION = "/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705"
KEY = "pk_a-key-of-ones-own-from-the-environment"


class Bot(BaseHTTPRequestHandler):
    """A session that tells what it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Path and headers, as JSON."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


class Running(NamedTuple):
    """An example that answers."""

    port: int
    log: Path

    def get(self, path: str, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body

    def printed_key(self) -> str | None:
        """The key that the example has made, if it has."""
        found = re.search(r"^SESSION_KEY=(\S+)$", self.log.read_text(), re.M)
        return found[1] if found else None


def command(name: str) -> list[str]:
    """What the docstring says to run."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
    assert docstring is not None
    [line] = re.findall(r"^    ((?:uvicorn|gunicorn) .+)$", docstring, re.M)
    return shlex.split(line)


@contextmanager
def serving(
    name: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[Running]:
    """The example behind its server, on a port of its own."""
    log = folder / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        descriptor = listener.fileno()
        where = {
            "uvicorn": ["--fd", str(descriptor)],
            "gunicorn": ["--bind", f"fd://{descriptor}", "--no-control-socket"],
        }
        server, *arguments = command(name)
        process = subprocess.Popen(
            [sys.executable, "-m", server, *arguments, *where[server]],
            cwd=EXAMPLES,
            env={**os.environ, **environment},
            pass_fds=[descriptor],
            stdout=output,
            stderr=output,
        )
        running = Running(listener.getsockname()[1], log)
    try:
        # Answered when the server is up; reset when it has died.
        assert running.get("/") == (200, {"page": "portal"})
        yield running
    except ConnectionError as error:
        raise AssertionError(log.read_text()) from error
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """Where the session listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Bot) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def talker() -> Iterator[str]:
    """Where a session listens that has a WebSocket and says what it hears."""

    def talk(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert "Authorization" not in socket.request.headers
        assert "Sec-WebSocket-Protocol" not in socket.request.headers
        for heard in socket:
            socket.send(f"{socket.request.path} heard {heard!s}")

    server: Server
    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_the_key_printed_at_start_opens_the_session_and_no_other_does(
    name: str, tmp_path: Path, upstream: str
) -> None:
    with serving(name, tmp_path, {"SESSION_UPSTREAM": upstream}) as example:
        key = example.printed_key()
        assert key is not None and len(key) >= 32
        status, seen = example.get(f"{SESSION}/status?a=1", key)
        assert (status, seen["path"]) == (200, "/status?a=1")
        assert seen["headers"]["x-daily-session-id"] == SESSION.rpartition("/")[2]
        assert "authorization" not in seen["headers"]
        for wrong in (None, "", f"{key}x", KEY):
            status, answer = example.get(f"{SESSION}/status", wrong)
            assert (status, answer["code"]) == (401, "401")
        status, answer = example.get(SESSION.replace("my-agent", "x") + "/", key)
        assert (status, answer["error"]) == (404, "Service not found")


@pytest.mark.parametrize("name", NAMES)
def test_a_key_from_the_environment_is_taken_and_never_printed(
    name: str, tmp_path: Path, upstream: str
) -> None:
    environment = {"SESSION_UPSTREAM": upstream, "SESSION_KEY": KEY}
    with serving(name, tmp_path, environment) as example:
        assert example.get(f"{SESSION}/status", KEY)[0] == 200
        assert example.get(f"{SESSION}/status", f"{KEY}x")[0] == 401
        assert KEY not in example.log.read_text()


def test_the_chat_opens_with_the_key_as_a_subprotocol_and_with_no_other(
    tmp_path: Path, talker: str
) -> None:
    environment = {"SESSION_UPSTREAM": talker, "SESSION_KEY": KEY}
    with serving("fastapi_app", tmp_path, environment) as example:
        url = f"ws://127.0.0.1:{example.port}{SESSION}/ws"
        ours = Subprotocol(f"session-proxy.bearer.{KEY}")
        with connect(url, subprotocols=[ours], proxy=None) as client:
            client.send("Hello")
            assert client.recv(20) == "/ws heard Hello"
        for offered in (None, [Subprotocol(f"{ours}x")]):
            with pytest.raises(InvalidStatus) as refused:
                connect(url, subprotocols=offered, proxy=None)
            assert refused.value.response.status_code == 401


def test_the_page_of_the_chat_talks_in_a_browser(tmp_path: Path, talker: str) -> None:
    environment = {"SESSION_UPSTREAM": talker, "SESSION_KEY": KEY}
    with chromium() as browser, serving("fastapi_app", tmp_path, environment) as site:
        browser.open(f"http://127.0.0.1:{site.port}/chat")
        shown = browser.run(
            f"opening.elements.key.value = {KEY!r}; opening.requestSubmit();"
            "return new Promise((done) => {"
            " socket.addEventListener('message', () => done(log.textContent));"
            " socket.addEventListener('close', () => done(log.textContent));"
            " socket.addEventListener('open', () => {"
            " saying.elements.text.value = 'Hello'; saying.requestSubmit() }) })"
        )
        assert shown == "/ws heard Hello\n"
