"""`session-proxy demo`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import ConfigError
from ..settings import PORT
from .arguments import leaf, typed
from .failure import Failure
from .needed import needs


def add(commands: Any) -> None:
    """Add the command."""
    parser = leaf(
        commands, "demo", _demo, "run a portal and two sessions, to try things out"
    )
    parser.description = (
        "Starts a portal behind the middleware and two sessions, prints a key "
        "and lines for a shell to try, and shows each request. Ctrl-C ends it."
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="make every one of the calls, print a table, exit 0 or 1",
    )
    parser.add_argument(
        "--wsgi",
        action="store_true",
        help="a Flask portal under gunicorn instead of FastAPI under uvicorn",
    )
    parser.add_argument(
        "--port",
        type=typed(PORT),
        help="the portal's port (default: 8000 if free, else any free one)",
    )


def _demo(options: argparse.Namespace) -> int:
    if sys.platform == "win32":
        raise ConfigError("demo needs Linux or macOS (on Windows: WSL)")
    more = ("flask", "gunicorn") if options.wsgi else ("websockets",)
    needs("demo", "fastapi", "uvicorn", *more, extra="demo")
    from ..demo.children import DemoError
    from ..demo.run import run

    try:
        return run(wsgi=options.wsgi, checking=options.check, port=options.port)
    except DemoError as error:
        raise Failure(str(error)) from error
