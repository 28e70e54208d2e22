"""`serve`: a gateway that knows what the store knows, hides secrets, and drains."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme

from ..demo.running import descendants, left
from ..support.redis_server import RedisServer
from ..support.servers import request
from ..support.upstream import Conn, Upstream, answering
from ..support.wire import PATIENCE, Message
from .running import SESSION, Command, Gateway, path

PASSWORD = "hunter2-hunter2"


def not_found(message: Message, *, head: bool = False) -> None:
    """It is the contract's answer."""
    body = b"" if head else b'{"error": "Not found", "code": "404"}'
    assert (message.status, message.body) == (404, body)
    assert message.one("content-type") == b"application/json"
    assert message.one("x-session-proxy-error") == b"not_found"
    assert message.one("x-content-type-options") == b"nosniff"
    assert re.fullmatch(rb"[0-9a-f]{32}", message.one("x-request-id"))


def test_a_gateway_serves_what_the_command_registers(managing: Command) -> None:
    with Upstream(answering()) as upstream, Gateway(managing) as gateway:
        secret = managing.one("keys", "create")["secret"]
        name = ("bot", SESSION)
        managing.ok("sessions", "create", "bot", upstream.url, "--id", SESSION)

        def status() -> int:
            return gateway.ask(request("GET", path(), key=secret)).status

        def becomes(wanted: int) -> None:
            end = time.monotonic() + PATIENCE
            while status() != wanted:
                assert time.monotonic() < end

        becomes(200)
        assert gateway.ask(request("GET", path(), key=None)).status == 401
        managing.ok("services", "not-ready", "bot")
        becomes(400)
        managing.ok("services", "ready", "bot")
        becomes(200)
        managing.ok("sessions", "end", *name)
        becomes(404)

        not_found(gateway.ask(request("GET", "/bot/sessions?x=secret-1", key=None)))
        not_found(gateway.ask(request("GET", "/", key=secret)))
        head = gateway.ask(request("HEAD", "/", key=None), to="HEAD")
        not_found(head, head=True)
        upgrade = [
            (b"Connection", b"Upgrade"),
            (b"Upgrade", b"websocket"),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
        ]
        not_found(gateway.ask(request("GET", "/chat", upgrade, key=None)))
        log = gateway.log
    assert f"GET {path()} 200 session completed" in log
    assert "secret-1" not in log and secret not in log


def test_no_password_is_in_the_list_of_processes_or_in_the_log(
    tmp_path: Path,
) -> None:
    user = ("--user", "alice", "on", f">{PASSWORD}", "~*", "+@all")
    with RedisServer(tmp_path, *user) as server:
        url = server.url.replace("//", f"//alice:{PASSWORD}@")
        command = Command(url, tmp_path)
        with Gateway(command, "--prefix", "/v1", workers=2) as gateway:
            pids = {gateway.process.pid} | descendants(gateway.process.pid)
            assert len(pids) > 2
            for pid in pids:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                assert PASSWORD.encode() not in arguments
            secret = command.one("keys", "create")["secret"]
            asked = request("GET", "/v1" + path(), key=secret)
            assert gateway.ask(asked).status == 404
            server.kill()
            end = time.monotonic() + PATIENCE
            while gateway.ask(asked).status != 503:
                assert time.monotonic() < end
            gateway.until("the store fails")
            assert PASSWORD not in gateway.log and secret not in gateway.log
        assert left(pids) == set()


def test_what_flags_say_reaches_every_worker(on_file: Command) -> None:
    variables = {
        "SESSION_PROXY_PREFIX": "/theirs",
        "SESSION_PROXY_CONTRACT": "strict",
        "SESSION_PROXY_STORE": "sqlite:///theirs.db",
    }
    (on_file.folder / "url").write_text(on_file.url)
    with Upstream(answering()) as upstream:
        store = on_file.store()
        store.sessions.register("bot", SESSION, upstream.url)
        secret = store.keys.create().secret
        store.close()
        with Gateway(
            on_file,
            *("--store-file", "url", "--prefix", "", "--reserved-paths", ""),
            workers=2,
            environment=variables,
        ) as gateway:
            wires = [gateway.connect() for _ in range(8)]
            for wire in wires:
                wire.send(request("POST", path(rest="/bot"), body=b"", key=secret))
                assert wire.answer().status == 200
                wire.close()
            started = re.findall(r"Started server process \[(\d+)\]", gateway.log)
            assert len(set(started)) == 2
            gateway.process.terminate()
            assert gateway.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_that_is_told_to_end_drains(
    on_file: Command, number: signal.Signals
) -> None:
    def stream(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")

    with Upstream(stream) as upstream:
        store = on_file.store()
        store.sessions.register("bot", SESSION, upstream.url)
        secret = store.keys.create().secret
        store.close()
        with Gateway(on_file, "--drain", "0.5") as gateway, gateway.connect() as wire:
            wire.send(request("GET", path(), key=secret))
            head = wire.response_head()
            assert wire.until(b"first") == b"first"
            gateway.process.send_signal(number)
            assert wire.body(head).end == "broken"
            # uvicorn ends by the signal, as is usual, once all is done.
            gateway.process.wait(PATIENCE)
            assert "200 session draining" in gateway.log


def test_a_front_proxy_is_believed_where_it_is_named(on_file: Command) -> None:
    with Upstream(answering()) as upstream:
        store = on_file.store()
        store.sessions.register("bot", SESSION, upstream.url)
        secret = store.keys.create().secret
        store.close()
        fields = [(b"X-Forwarded-For", b"192.0.2.7"), (b"X-Forwarded-Proto", b"https")]
        asked = request("GET", path(), fields, key=secret)
        for options, client in (
            ((), b"127.0.0.1"),
            (("--forwarded-allow-ips", "127.0.0.1"), b"192.0.2.7"),
        ):
            with Gateway(on_file, *options) as gateway:
                assert gateway.ask(asked).status == 200
            assert upstream.last.one("x-forwarded-for") == client


def test_a_gateway_speaks_tls(on_file: Command) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(on_file.folder / "cert.pem")
    issued.private_key_pem.write_to_path(on_file.folder / "key.pem")
    on_file.ok("services", "create", "bot")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = ("--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")
    with (
        Gateway(on_file, *files) as gateway,
        socket.create_connection(gateway.address, PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(request("GET", "/", key=None))
        assert sock.recv(65_536).startswith(b"HTTP/1.1 404")


def test_a_taken_port_is_told_in_a_line(on_file: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = on_file.fails(1, "serve", "--port", port)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in said
    assert "--port" in said
