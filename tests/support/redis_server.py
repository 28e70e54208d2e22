"""A redis-server of one's own, on a free loopback port."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from .programs import program
from .wire import PATIENCE


class RedisServer:
    """Runs until it is left; can be killed and started again with its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = program("redis-server", "valkey-server", package="redis-server")
        log = (self._folder / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *(command, "--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._folder), "--save", ""),
                    *("--appendonly", "yes", "--appendfsync", "always"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while self.ask("PING") != b"+PONG":
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def clients(self) -> int:
        """How many connections it has, but for the one that asks."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
            sock.sendall(b"CLIENT LIST TYPE normal\r\n")
            return sock.recv(65_536).count(b" addr=") - 1

    def ask(self, *words: str) -> bytes | None:
        """One command over a connection of its own; the first line of the answer, or
        None where nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                sock.sendall((" ".join(words) + "\r\n").encode())
                return sock.recv(4096).split(b"\r\n")[0]
        except OSError:
            return None
