"""The command as a whole: what there is, and how it ends.

Exit status 0: done. 1: it failed, or there is no such thing. 2: the command is wrong.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence

from ..errors import ConfigError, StoreUnavailable
from . import check, demo, explain, keys, serve, services, sessions
from .arguments import Parser, under
from .failure import Failure

_DESCRIPTION = """\
Sessions behind your application: what the store knows of them, a gateway of their own,
and answers to "why is my request refused?"."""
_EPILOG = """\
The store is given by --store, by --store-file or by SESSION_PROXY_STORE. No secret is
ever an argument: it would show in the list of processes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that does not know a character shows its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    if any(not _is_text(each) for each in arguments):
        parser.error("an argument is not UTF-8")
    options, surplus = parser.parse_known_args(arguments)
    if surplus:
        options.parser.surplus(surplus)
    # What a server would log, a command says itself.
    logging.getLogger("session_proxy").addHandler(logging.NullHandler())
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except ConfigError as error:
        return _fail(str(error), 2)
    except StoreUnavailable as error:
        return _fail(f"the store does not answer: {error}", 1)
    except Failure as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror}", 1)
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> Parser:
    parser = Parser(prog="session-proxy", description=_DESCRIPTION, epilog=_EPILOG)
    commands = under(parser)
    for part in (services, sessions, keys, serve, explain, check, demo):
        part.add(commands)
    return parser


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fail(reason: str, status: int) -> int:
    print(f"session-proxy: {reason}", file=sys.stderr)
    return status
