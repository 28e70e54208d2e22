"""Portal and sessions, set up and taken down together."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from uuid import uuid4

from .children import Child, DemoError, listen
from .settings import SERVICE, Bot, Settings

PORT = 8000
"""The portal's, when it is free and no other is asked for."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """What runs."""

    portal: Child
    sessions: list[Child]
    settings: Settings

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return [*self.sessions, self.portal]


@contextlib.contextmanager
def stage(
    *, wsgi: bool, port: int | None, say: Callable[[str], None]
) -> Iterator[Stage]:
    """A portal and two sessions that answer; ended, all of them, on the way out.

    Raises:
        DemoError: the port is taken, or one of them did not start.
    """
    started: list[Child] = []
    with _signals_as_exceptions(), contextlib.ExitStack() as stack:
        stack.callback(_stop, started)
        front = stack.enter_context(portal_socket(port))
        bots = []
        for name in ("bot-1", "bot-2"):
            child = Child(name, _session_command(name), listen(), {})
            started.append(child)
            bots.append(Bot(name=name, id=str(uuid4()), upstream=child.url))
        settings = Settings(bots=tuple(bots), secret=f"pk_{secrets.token_urlsafe(24)}")
        command = _wsgi_portal_command if wsgi else _asgi_portal_command
        # What a user has set for gunicorn elsewhere is not meant for this one.
        environment = {**settings.to_environment(), "GUNICORN_CMD_ARGS": ""}
        portal = Child("portal", command, front, environment)
        started.append(portal)

        kind = "Flask under gunicorn" if wsgi else "FastAPI under uvicorn"
        say(f"Starting a portal ({kind}) and two sessions of {SERVICE}:")
        for child in started:
            took = child.wait("/" if child is portal else "/readyz")
            say(
                f"  {child.name:<6}  {child.url:<22}  process {child.process.pid}"
                f"  ready after {took:.1f} s"
            )
        yield Stage(portal=portal, sessions=started[:-1], settings=settings)


def portal_socket(port: int | None) -> socket.socket:
    """A socket that listens on `port`; for None on `PORT`, or any if that is taken.

    Raises:
        DemoError: the port that was asked for is taken.
    """
    if port is None:
        with contextlib.suppress(OSError):
            return listen(PORT)
        return listen()
    try:
        return listen(port)
    except OSError as error:
        raise DemoError(f"cannot listen on port {port}: {error.strerror}") from error


def _session_command(name: str) -> Callable[[int], list[str]]:
    return lambda descriptor: [*_uvicorn("bot:app", descriptor), name]


def _asgi_portal_command(descriptor: int) -> list[str]:
    return _uvicorn("portal_asgi:app", descriptor)


def _uvicorn(application: str, descriptor: int) -> list[str]:
    package = __package__
    python = [sys.executable, "-m", f"{package}.serve"]
    return [*python, f"{package}.{application}", str(descriptor)]


def _wsgi_portal_command(descriptor: int) -> list[str]:
    package = __package__
    return [
        *(sys.executable, "-m", "gunicorn"),
        *("--config", f"python:{package}.gunicorn_config"),
        *("--bind", f"fd://{descriptor}"),
        f"{package}.portal_wsgi:app",
    ]


def _stop(children: list[Child]) -> None:
    # Ending takes a few seconds at most; a second Ctrl-C must not cut it short.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C does; the exit status names them."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.getsignal(number)
            # One that the caller ignores (nohup) stays ignored.
            if number != signal.SIGINT and before[number] is not signal.SIG_IGN:
                signal.signal(number, leave)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
