"""The demo's processes: started on a socket that already listens, always ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

START_SECONDS = 30.0
STOP_SECONDS = 3.0
KEPT_LINES = 200


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on the loopback address; 0 is any free port.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class Child:
    """A server in a process of its own.

    It lives no longer than this process: see `lifeline`. What it prints is kept,
    and passed on to `show` once that is set.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], list[str]],
        listener: socket.socket,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.port: int = listener.getsockname()[1]
        self.output: deque[str] = deque(maxlen=KEPT_LINES)
        self.show: Callable[[str], None] | None = None
        self._started = time.monotonic()
        descriptor = listener.fileno()
        self.process = subprocess.Popen(  # noqa: S603
            command(descriptor),
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[descriptor],
            # Ctrl-C reaches the parent alone, which ends all in order.
            start_new_session=True,
        )
        # The child's copy alone is left: when it dies, so do its connections.
        listener.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def printed(self, start: str) -> bool:
        """Whether it has printed a line that starts like this, of late."""
        return any(line.startswith(start) for line in tuple(self.output))

    def wait(self, path: str, headers: Mapping[str, str] | None = None) -> float:
        """Return once it answers `path`, with the seconds since it was started.

        The connection stands from the start, since the socket listens already: it
        is answered when the server is up and reset when it has died.

        Raises:
            DemoError: it died, or did not answer in time; with what it printed.
        """
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=START_SECONDS
        )
        try:
            connection.request("GET", path, headers=headers or {})
            status = connection.getresponse().status
        except TimeoutError as error:
            raise self.failed(f"did not answer in {START_SECONDS:.0f} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise self.failed("did not start") from error
        finally:
            connection.close()
        if status != 200:
            raise self.failed(f"answered {status} when it started")
        return time.monotonic() - self._started

    def failed(self, what: str) -> DemoError:
        """The error that says `what`, and what the child has printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # One that dies closes its sockets first and tells why afterwards.
            self.process.wait(STOP_SECONDS)
        self.stop()
        self._reader.join(STOP_SECONDS)
        return DemoError("\n".join([f"{self.name} {what}", *self.output]))

    def ask_to_stop(self) -> None:
        """Begin to end it."""
        self.process.terminate()

    def stop(self) -> None:
        """End it and what it has started, politely first."""
        self.ask_to_stop()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _read(self) -> None:
        if self.process.stdout is None:
            return
        with self.process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self.output.append(text)
                if self.show is not None:
                    self.show(text)
