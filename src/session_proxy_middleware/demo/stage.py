"""Portal, admin API and sessions, set up and taken down together."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from types import FrameType
from uuid import uuid4

from .call import Endpoints
from .children import Child, DemoError, listen
from .provisioning import Platform
from .settings import ADMIN, SERVICE, Bot, Settings

PORT = 8000
"""The portal's, when it is free and no other is asked for."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """What runs."""

    portal: Child
    admin: Child
    sessions: list[Child]
    bots: tuple[Bot, ...]
    endpoints: Endpoints

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return [*self.sessions, self.admin, self.portal]


@contextlib.contextmanager
def stage(
    *, wsgi: bool, port: int | None, say: Callable[[str], None]
) -> Iterator[Stage]:
    """A portal, an admin API and two sessions that answer; ended, all of them, on the
    way out.

    Raises:
        DemoError: the port is taken, or one of them did not start.
    """
    started: list[Child] = []
    with _signals_as_exceptions(), contextlib.ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="session-proxy-demo-"))
        stack.callback(_stop, started)
        front = stack.enter_context(portal_socket(port))
        bots = []
        for name in ("bot-1", "bot-2"):
            child = Child(name, _asgi("bot", name), listen(), {})
            started.append(child)
            bots.append(Bot(name=name, id=str(uuid4()), upstream=child.url))
        settings = Settings(
            store=f"sqlite:///{folder}/sessions.db",
            bots=tuple(bots),
            admin_key=f"adm_{secrets.token_urlsafe(32)}",
        )
        admin = Child(
            ADMIN,
            _wsgi("admin_wsgi") if wsgi else _asgi("admin_asgi", ADMIN),
            listen(),
            _environment(settings),
        )
        started.append(admin)
        portal = Child(
            "portal",
            _wsgi("portal_wsgi") if wsgi else _asgi("portal_asgi"),
            front,
            _environment(replace(settings, admin_key="")),
        )
        started.append(portal)

        kind = "Flask under gunicorn" if wsgi else "FastAPI under uvicorn"
        say(f"Starting a portal ({kind}), an admin API and two sessions of {SERVICE}:")
        platform = Platform(admin, settings.admin_key)
        for child in started:
            if child is admin:
                took = child.wait("/services", platform.headers)
            else:
                took = child.wait("/" if child is portal else "/readyz")
            say(
                f"  {child.name:<6}  {child.url:<22}  process {child.process.pid}"
                f"  ready after {took:.1f} s"
            )
        endpoints = Endpoints(
            portal=portal.port,
            admin=admin.port,
            secret=platform.set_up(settings.bots),
            admin_key=settings.admin_key,
        )
        yield Stage(
            portal=portal,
            admin=admin,
            sessions=started[:2],
            bots=settings.bots,
            endpoints=endpoints,
        )


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


def _asgi(module: str, *name: str) -> Callable[[int], list[str]]:
    """uvicorn; with a `name`, that goes out with every response."""
    package = __package__
    python = [sys.executable, "-m", f"{package}.serve", f"{package}.{module}:app"]
    return lambda descriptor: [*python, str(descriptor), *name]


def _wsgi(module: str) -> Callable[[int], list[str]]:
    package = __package__
    return lambda descriptor: [
        *(sys.executable, "-m", "gunicorn"),
        *("--config", f"python:{package}.gunicorn_config"),
        *("--bind", f"fd://{descriptor}"),
        f"{package}.{module}:app",
    ]


def _environment(settings: Settings) -> dict[str, str]:
    # What a user has set for gunicorn elsewhere is not meant for this one.
    return {**settings.to_environment(), "GUNICORN_CMD_ARGS": ""}


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
