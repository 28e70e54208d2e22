"""The candidates: what each is, and the command that serves it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from . import nginx
from .processes import ServerError

ASGI: Final = "asgi"
WSGI: Final = "wsgi"
NGINX: Final = "nginx"

THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server compared."""

    name: str
    kind: str
    module: str = ""
    package: str = ""


CANDIDATES: Final = (
    Candidate("bare-uvicorn", ASGI, "asgi_bare", "uvicorn"),
    Candidate("session-proxy", ASGI, "asgi_session_proxy", "session-proxy-middleware"),
    Candidate("session-proxy-httpx", ASGI, "asgi_session_proxy_httpx", "httpx"),
    Candidate("asgiproxy", ASGI, "asgi_asgiproxy", "asgiproxy"),
    Candidate("fastapi-proxy-lib", ASGI, "asgi_fastapi_proxy_lib", "fastapi-proxy-lib"),
    Candidate("fastapi-httpx", ASGI, "asgi_fastapi_httpx", "fastapi"),
    Candidate("nginx", NGINX),
    Candidate("bare-gunicorn", WSGI, "wsgi_bare", "gunicorn"),
    Candidate("session-proxy-wsgi", WSGI, "wsgi_session_proxy"),
    Candidate("werkzeug-proxy", WSGI, "wsgi_werkzeug", "werkzeug"),
    Candidate("django-revproxy", WSGI, "wsgi_django_revproxy", "django-revproxy"),
    Candidate("flask-requests", WSGI, "wsgi_flask_requests", "requests"),
)

#: The least that a proxy can do: no more than small GETs.
FLOORS: Final = (
    Candidate("minimal-uvicorn", ASGI, "asgi_minimal"),
    Candidate("minimal-gunicorn", WSGI, "wsgi_minimal"),
)

#: Packages whose versions decide the figures without being candidates.
UNDERNEATH: Final = (
    "aiohttp",
    "anyio",
    "django",
    "flask",
    "httpcore",
    "httptools",
    "httpx-ws",
    "sniffio",
    "starlette",
    "urllib3",
    "uvloop",
    "websockets",
    "wsproto",
)


def of(kind: str, *, floor: bool = False) -> tuple[Candidate, ...]:
    """The candidates under one kind of server; nginx is the ceiling of ASGI's."""
    kinds = (ASGI, NGINX) if kind == ASGI else (kind,)
    known = (*FLOORS, *CANDIDATES) if floor else CANDIDATES
    return tuple(one for one in known if one.kind in kinds)


def named(*names: str) -> tuple[Candidate, ...]:
    """The candidates of those names, in the catalogue's order."""
    return tuple(one for one in CANDIDATES if one.name in names)


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def command(
    candidate: Candidate, *, port: int, upstream_port: int, loop: str, folder: Path
) -> Sequence[str]:
    """What serves the candidate on that port, one worker, without access logs.

    Raises:
        ServerError: nginx is not installed.
    """
    target = f"tests.benchmarks.servers.{candidate.module}:app"
    if candidate.kind == NGINX:
        config = nginx.proxy(folder=folder, port=port, upstream_port=upstream_port)
        return nginx_command(config)
    if candidate.kind == ASGI:
        return [
            *(sys.executable, "-m", "uvicorn", target),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--http", "httptools", "--loop", loop),
            *("--no-access-log", "--log-level", "warning"),
            *("--timeout-graceful-shutdown", "1"),
        ]
    arguments = [
        *(sys.executable, "-m", "gunicorn", target),
        *("--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)),
        *("--keep-alive", "60", "--log-level", "warning", "--graceful-timeout", "1"),
    ]
    if int((version("gunicorn") or "0").split(".")[0]) >= 25:
        arguments.append("--no-control-socket")
    return arguments


def nginx_command(config: Path) -> Sequence[str]:
    """nginx in the foreground on that configuration.

    Raises:
        ServerError: it is not installed.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        raise ServerError("nginx is not installed: it is Debian's package `nginx`")
    return [found, "-p", str(config.parent), "-c", str(config), "-e", "stderr"]
