"""`session-proxy …` and `python -m session_proxy_middleware …`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="session-proxy",
        description="Mount live sessions into a Django, Flask or FastAPI application.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="run a portal and two sessions on this machine, to try things out",
        description=(
            "Starts a portal behind the middleware and two sessions, prints a key "
            "and lines for a shell to try, and shows each request. Ctrl-C ends it."
        ),
    )
    demo.add_argument(
        "--check",
        action="store_true",
        help="make every one of the calls, print a table, exit 0 or 1",
    )
    demo.add_argument(
        "--wsgi",
        action="store_true",
        help="a Flask portal under gunicorn instead of FastAPI under uvicorn",
    )
    demo.add_argument(
        "--port",
        type=_port,
        help="the portal's port (default: 8000 if free, else any free one)",
    )
    demo.set_defaults(run=_demo)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    if sys.platform == "win32":
        return _fail("demo needs Linux or macOS (on Windows: WSL)", 2)
    needed = ["fastapi", "uvicorn"]
    needed += ["flask", "gunicorn"] if options.wsgi else ["websockets"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return _fail(
            f"demo needs {', '.join(missing)}: "
            'pip install "session-proxy-middleware[demo]"',
            2,
        )
    from .demo.children import DemoError
    from .demo.run import run

    try:
        return run(wsgi=options.wsgi, checking=options.check, port=options.port)
    except DemoError as error:
        return _fail(str(error), 1)


def _fail(reason: str, status: int) -> int:
    print(f"session-proxy: {reason}", file=sys.stderr)
    return status
