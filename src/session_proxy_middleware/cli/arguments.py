"""How arguments are read. Errors are one line, and repeat no secret."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ..settings import STORE, STORE_FILE, SWITCH, Kind, Setting
from .failure import Failure

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"session-proxy: {message}; see {self.prog} --help\n")

    def surplus(self, arguments: list[str]) -> NoReturn:
        """Refuse what nobody asked for. Only names of options are repeated: anything
        else may be a secret that ended up here."""
        names = [each.partition("=")[0] for each in arguments if each.startswith("--")]
        if names:
            self.error(f"unknown option {', '.join(names)}")
        self.error("too many arguments")


def leaf(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str
) -> Parser:
    """A command that does something."""
    parser: Parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run, parser=parser)
    return parser


def branch(commands: Any, name: str, help: str) -> Any:
    """A command that has commands."""
    parser: Parser = commands.add_parser(name, help=help, description=help)
    return under(parser)


def under(parser: Parser) -> Any:
    """Commands of this parser; its help, where none is given."""

    def usage(options: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return 2

    parser.set_defaults(run=usage, parser=parser)
    return parser.add_subparsers(metavar="command")


def add_settings(
    parser: argparse._ActionsContainer, settings: Iterable[Setting]
) -> None:
    """A flag for each of them."""
    for each in settings:
        switch = {"nargs": "?", "const": "true"} if each.kind is SWITCH else {}
        parser.add_argument(
            each.flag,
            metavar=each.kind.sign,
            help=f"{each.meaning} [{each.variable}]",
            **switch,  # type: ignore[arg-type]
        )


def add_store(parser: argparse._ActionsContainer) -> None:
    """Where the store is."""
    add_settings(parser, (STORE, STORE_FILE))


def add_json(parser: argparse._ActionsContainer) -> None:
    """For programs."""
    parser.add_argument(
        "--json", action="store_true", help="for programs: a line of JSON for each"
    )


def typed(kind: Kind) -> Callable[[str], Any]:
    """How argparse reads a value of this kind."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except (ValueError, KeyError) as error:
            message = f"{text!r} is not {kind.what}"
            raise argparse.ArgumentTypeError(message) from error

    return read


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError
    return float(found[1]) * _UNITS[found[2]]


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


DURATION = Kind("a time like 90, 90s, 30m, 12h or 7d", _duration, "TIME")
FROM_NOW = Kind(DURATION.what, lambda text: time.time() + _duration(text), "TIME")
MOMENT = Kind(
    "a moment like 2030-01-31T12:00:00Z, or seconds since the epoch", _moment, "WHEN"
)


def secret_in(path: str) -> str:
    """The first line of a file, or of standard input for `-`: what must not be an
    argument. Raises `Failure`."""
    lines = bytes_in(path).decode("utf-8", "replace").splitlines()
    if not lines or not lines[0].strip():
        raise Failure(f"there is nothing in {_named(path)}")
    return lines[0].strip()


def bytes_in(path: str) -> bytes:
    """All of a file, or of standard input for `-`. Raises `Failure`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"{_named(path)}: {error.strerror}") from error


def _named(path: str) -> str:
    return "standard input" if path == "-" else path
