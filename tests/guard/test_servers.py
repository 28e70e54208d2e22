"""The guard under the servers that bots run, and on its own."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import fastapi
import httpx
import pytest
import uvicorn
import websockets.sync.client
from websockets.exceptions import InvalidStatus

from session_proxy_middleware.guard import SessionGuard, canonical

SOURCE = Path(__file__).parents[2] / "src"
MINE = "57af5437-97a2-4646-9873-a5c5935bd705"
OTHER = "11111111-1111-4111-8111-111111111111"
FIELD = "x-daily-session-id"


class Running:
    """What runs here: a bot's own module would hold it."""

    session_id: str | None = MINE


def bot() -> fastapi.FastAPI:
    """A bot that guards itself as FastAPI applications are told to."""
    app = fastapi.FastAPI()
    app.add_middleware(SessionGuard, session_id=lambda: Running.session_id)

    @app.get("/status")
    def status() -> dict[str, bool]:
        return {"ok": True}

    @app.websocket("/ws")
    async def talk(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


@contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """Where it listens."""
    config = uvicorn.Config(app, log_level="warning", **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        end = time.monotonic() + 15
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(15)


@pytest.fixture(params=["websockets-sansio", "wsproto"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with served(bot(), ws=request.param) as address:
        yield address


def test_a_fastapi_bot_answers_for_its_own_session_alone(address: str) -> None:
    url = f"http://{address}/status"
    assert httpx.get(url, headers={FIELD: MINE}).json() == {"ok": True}
    assert httpx.get(url).status_code == 200
    refused = httpx.get(url, headers={FIELD: OTHER})
    assert refused.status_code == 421
    assert refused.headers["x-session-proxy-guard"] == OTHER
    assert refused.json()["code"] == "421"
    assert httpx.head(url, headers={FIELD: OTHER}).content == b""


def test_a_websocket_for_another_session_is_refused_before_it_is_accepted(
    address: str,
) -> None:
    url = f"ws://{address}/ws"
    connect = websockets.sync.client.connect
    with connect(url, additional_headers={FIELD: MINE}) as ours:
        assert ours.recv() == "hello"
    with pytest.raises(InvalidStatus) as caught:
        connect(url, additional_headers={FIELD: OTHER})
    assert caught.value.response.status_code == 421
    assert caught.value.response.headers["x-session-proxy-guard"] == OTHER


def test_a_bot_on_pipecats_base_image_answers_while_its_session_runs() -> None:
    """As that does: `POST /bot` takes as long as the session."""
    app = fastapi.FastAPI()
    app.add_middleware(SessionGuard.for_pipecat)
    begun, over = threading.Event(), threading.Event()

    @app.post("/bot")
    def run() -> dict[str, str]:
        begun.set()
        assert over.wait(15)
        return {}

    @app.post("/api/offer")
    def offer() -> dict[str, str]:
        return {"type": "answer"}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ok"}

    with served(app) as address, httpx.Client(base_url=f"http://{address}") as http:

        def offered(id: str) -> int:
            return http.post("/api/offer", headers={FIELD: id}).status_code

        for mine, other in ((MINE, OTHER), (OTHER, MINE)):
            assert [offered(mine), offered(other)] == [421, 421]
            assert http.get("/readyz").status_code == 200
            session = threading.Thread(
                target=httpx.post,
                args=(f"http://{address}/bot",),
                kwargs={"headers": {FIELD: mine}, "timeout": 15},
            )
            session.start()
            assert begun.wait(15)
            assert [offered(mine), offered(other)] == [200, 421]
            over.set()
            session.join(15)
            begun.clear()
            over.clear()


def test_a_guard_that_is_outermost_is_known_for_asgi_by_its_server() -> None:
    with served(SessionGuard(bot(), MINE)) as address:
        url = f"http://{address}/status"
        assert httpx.get(url, headers={FIELD: MINE}).status_code == 200
        assert httpx.get(url, headers={FIELD: OTHER}).status_code == 421


def test_a_websocket_is_closed_where_the_server_can_send_no_answer() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def refused() -> None:
        scope = {
            "type": "websocket",
            "path": "/ws",
            "headers": [(FIELD.encode(), OTHER.encode())],
        }
        await SessionGuard(bot(), MINE)(scope, None, send)

    asyncio.run(refused())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_wsgi_bot_answers_for_its_own_session_alone() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    # wsgiref checks what PEP 3333 asks of an application.
    server: WSGIServer = make_server("127.0.0.1", 0, SessionGuard(app, MINE))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        assert httpx.post(url, headers={FIELD: MINE}, content=b"x").text == "ok"
        refused = httpx.post(url, headers={FIELD: OTHER}, content=b"x")
        assert refused.status_code == 421
        assert refused.headers["x-session-proxy-guard"] == OTHER
    finally:
        server.shutdown()
        server.server_close()
        thread.join(15)


ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from session_proxy_middleware.guard import SessionGuard

answers = []
for id in sys.argv[2:]:
    guard = SessionGuard(lambda environ, start: start("200 OK", []) or [], sys.argv[2])
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_DAILY_SESSION_ID": id}
    guard(environ, lambda status, headers: answers.append(status))
known = {*sys.stdlib_module_names, "__main__"}
others = sorted(each for each in sys.modules if each.split(".")[0] not in known)
try:
    from session_proxy_middleware import SessionProxy
except ModuleNotFoundError as error:
    missing = error.name
print(json.dumps([answers, others, missing]))
"""


def test_it_works_where_no_other_package_is_installed() -> None:
    """-I -S: no site-packages. The rest of this package can't be imported there."""
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(SOURCE), MINE, OTHER]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answers, others, missing = json.loads(run.stdout)
    assert answers == ["200 OK", "421 Misdirected Request"]
    assert others == ["session_proxy_middleware", "session_proxy_middleware.guard"]
    assert missing in ("httptools", "asgiref", "werkzeug")


def test_the_one_file_is_enough(tmp_path: Path) -> None:
    copy = tmp_path / "guard.py"
    copy.write_bytes((SOURCE / "session_proxy_middleware" / "guard.py").read_bytes())
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, "]
    command[-1] += f"{str(tmp_path)!r}); import guard; guard.SessionGuard(print)"
    assert subprocess.run(command, check=False).returncode == 0


def test_an_id_has_one_spelling() -> None:
    assert canonical(MINE.upper()) == MINE
    assert canonical("Bot-1") == "Bot-1"
