"""`session-proxy keys …`"""

from __future__ import annotations

import argparse
import os
import warnings
from dataclasses import replace
from typing import Any

from ..models import KEY_OVERLAP, Key
from ..settings import BEGINNING
from ..stores.lines import key_line, key_of_line
from ..stores.managed import ManagedStore
from .arguments import (
    DURATION,
    FROM_NOW,
    MOMENT,
    Parser,
    add_json,
    add_store,
    branch,
    leaf,
    secret_in,
    typed,
)
from .failure import Failure
from .opened import opened
from .paging import add_pages, pages
from .showing import KEYS, say, say_json, tell
from .transfer import Transfer

SECRET = BEGINNING + "SECRET"


def add(commands: Any) -> None:
    """Add the commands."""
    mine = branch(commands, "keys", "public API keys: create, list, rotate, revoke …")
    create = _leaf(mine, "create", _create, "make a key; its secret is shown once")
    for name, what in (
        ("service", "service, or glob like bot-*"),
        ("method", "method"),
    ):
        create.add_argument(
            f"--{name}",
            action="append",
            help=f"a {what} that it opens; may be repeated (default: all)",
        )
    create.add_argument(
        "--path", action="append", help="a path within sessions, and what is below it"
    )
    create.add_argument(
        "--not-before",
        type=typed(MOMENT),
        metavar=MOMENT.sign,
        help="good from then on",
    )
    ends = create.add_mutually_exclusive_group()
    ends.add_argument(
        "--expires-at", type=typed(MOMENT), metavar=MOMENT.sign, help="good until then"
    )
    ends.add_argument(
        "--expires-in",
        type=typed(FROM_NOW),
        dest="expires_at",
        metavar=FROM_NOW.sign,
        help="good for so long: 90s, 30m, 12h, 7d",
    )
    create.add_argument(
        "--secret-file",
        metavar="FILE",
        help=f"a secret of your own, in a file (- for standard input) [{SECRET}]",
    )
    listing = _leaf(mine, "list", _list, "list keys, page by page")
    add_pages(listing, "KEY")
    _named(mine, "show", _show, "show a key")
    _named(mine, "revoke", _revoke, "refuse it from now on")
    rotate = _named(
        mine, "rotate", _rotate, "make its successor; both are good a while"
    )
    rotate.add_argument(
        "--overlap",
        type=typed(DURATION),
        default=KEY_OVERLAP,
        metavar=DURATION.sign,
        help="how long the old one is still good (1d)",
    )
    Transfer(key_line, key_of_line, _page, _restore).add(mine, "keys")


def _leaf(commands: Any, name: str, run: Any, help: str) -> Parser:
    parser = leaf(commands, name, run, help)
    add_store(parser)
    add_json(parser)
    return parser


def _named(commands: Any, name: str, run: Any, help: str) -> Parser:
    parser = _leaf(commands, name, run, help)
    parser.add_argument("key", help="its id: pk_<id>_…")
    return parser


def _create(options: argparse.Namespace) -> int:
    secret = os.environ.get(SECRET) or None
    if options.secret_file is not None:
        secret = secret_in(options.secret_file)
    with (
        opened(options, new=True) as store,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        key = store.keys.create(
            services=options.service or ["*"],
            methods=options.method,
            paths=options.path,
            secret=secret,
            not_before=options.not_before,
            expires_at=options.expires_at,
        )
    for warning in said:
        tell(f"warning: {warning.message}")
    _show_secret(key, options, chosen=secret is not None)
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened(options) as store:

        def page(after: str, limit: int) -> list[Key]:
            return store.keys.list(after=after, limit=limit)

        pages(options, KEYS, page, lambda key: key.id)
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened(options) as store:
        key = store.keys.find(_id(options))
    if key is None:
        raise _unknown()
    KEYS.show([key], options)
    return 0


def _revoke(options: argparse.Namespace) -> int:
    id = _id(options)
    with opened(options) as store:
        if not store.keys.revoke(id):
            raise _unknown()
    if options.json:
        say_json({"id": id, "revoked": True})
    else:
        say(f"revoked {id}")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    with opened(options) as store:
        key = store.keys.rotate(_id(options), overlap=options.overlap)
    if key is None:
        raise _unknown()
    _show_secret(key, options, chosen=False)
    return 0


def _show_secret(key: Key, options: argparse.Namespace, *, chosen: bool) -> None:
    """A secret that was made here is shown; whoever chose one has it."""
    KEYS.show([replace(key, secret=None) if chosen else key], options)
    if not chosen and not options.json:
        say("")
        say(str(key.secret))
        tell("the secret is shown this once; clients send it as a Bearer token")


def _id(options: argparse.Namespace) -> str:
    """A key's id. Whoever gives a secret instead is told not to."""
    id: str = options.key
    if id.startswith("pk_"):
        raise Failure(
            "give the key's id alone, the part between 'pk_' and the next '_': a "
            "secret shows in the list of processes"
        )
    return id


def _unknown() -> Failure:
    # Not repeated: it may be a secret.
    return Failure("there is no key of this id; 'session-proxy keys list' shows all")


def _page(store: ManagedStore, after: Key | None, limit: int) -> list[Key]:
    return store.keys.list(after=after.id if after else "", limit=limit)


def _restore(store: ManagedStore, keys: list[Key]) -> int:
    return store.keys.restore(keys)
