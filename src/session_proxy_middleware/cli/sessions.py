"""`session-proxy sessions …`"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable
from typing import Any

from ..models import SESSION_TTL, Session
from ..rules import life
from ..stores.lines import session_line, session_of_line
from ..stores.managed import ManagedStore
from ..stores.sessions import STATES, Sessions
from .arguments import DURATION, Parser, add_json, add_store, branch, leaf, typed
from .failure import Failure
from .opened import opened
from .paging import add_pages, pages
from .showing import SESSIONS
from .transfer import Transfer


def add(commands: Any) -> None:
    """Add the commands."""
    mine = branch(commands, "sessions", "sessions: create, list, touch, drain, end …")
    create = _leaf(
        mine, "create", _create, "register a session; replaces one of its id"
    )
    create.add_argument("service", help="created, ready, where it is unknown")
    create.add_argument("upstream", help="http://10.0.3.7:8080, unix:///run/bot.sock …")
    create.add_argument("--id", help="its id (default: a new UUID)")
    create.add_argument(
        "--starting", action="store_true", help="hold its requests until it is ready"
    )
    create.add_argument(
        "--ttl",
        type=typed(DURATION),
        default=SESSION_TTL,
        metavar=DURATION.sign,
        help="how long it lives unless it is touched (2h)",
    )
    listing = _leaf(mine, "list", _list, "list sessions, page by page")
    listing.add_argument("--service", help="of this service alone")
    listing.add_argument("--state", choices=STATES, help="in this state alone")
    add_pages(listing, "SERVICE/ID")
    _named(mine, "show", _show, "show a session, also one that has ended of late")
    touch = _named(mine, "touch", _touch, "let its time to live begin anew")
    touch.add_argument(
        "--ttl", type=typed(DURATION), metavar=DURATION.sign, help="another one"
    )
    _named(mine, "ready", _ready, "it has started: let its requests through")
    _named(mine, "drain", _drain, "let its requests finish, refuse new ones")
    _named(mine, "end", _end, "it has ended: 404 from now on")
    Transfer(session_line, session_of_line, _page, _restore).add(mine, "sessions")


def _leaf(commands: Any, name: str, run: Any, help: str) -> Parser:
    parser = leaf(commands, name, run, help)
    add_store(parser)
    add_json(parser)
    return parser


def _named(commands: Any, name: str, run: Any, help: str) -> Parser:
    parser = _leaf(commands, name, run, help)
    parser.add_argument("service", help="its service")
    parser.add_argument("id", help="its id")
    return parser


def _create(options: argparse.Namespace) -> int:
    with opened(options, new=True) as store:
        session = store.sessions.register(
            options.service,
            options.id or str(uuid.uuid4()),
            options.upstream,
            state="starting" if options.starting else "running",
            ttl=options.ttl,
        )
    SESSIONS.show([session], options)
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened(options) as store:

        def page(after: str, limit: int) -> list[Session]:
            return store.sessions.list(
                service=options.service,
                state=options.state,
                after=after,
                limit=limit,
            )

        pages(options, SESSIONS, page, lambda session: session.name)
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened(options) as store:
        SESSIONS.show([_found(store, options)], options)
    return 0


def _touch(options: argparse.Namespace) -> int:
    return _change(
        options,
        lambda sessions, *name: sessions.touch(*name, ttl=options.ttl),
    )


def _ready(options: argparse.Namespace) -> int:
    return _change(options, Sessions.ready)


def _drain(options: argparse.Namespace) -> int:
    return _change(options, Sessions.drain)


def _end(options: argparse.Namespace) -> int:
    return _change(options, Sessions.end)


def _change(
    options: argparse.Namespace, change: Callable[[Sessions, str, str], bool]
) -> int:
    with opened(options) as store:
        changed = change(store.sessions, options.service, options.id)
        found = _found(store, options)
    if not changed:
        raise Failure(f"session {found.name} is {found.state}, so nothing was changed")
    SESSIONS.show([found], options)
    return 0


def _found(store: ManagedStore, options: argparse.Namespace) -> Session:
    session = store.sessions.find(options.service, options.id)
    if session is None:
        raise Failure(
            f"there is no session {options.service}/{options.id}; "
            "'session-proxy sessions list' shows them (those that have ended for "
            f"{life.ENDED_KEPT / 60:.0f} minutes)"
        )
    return session


def _page(store: ManagedStore, after: Session | None, limit: int) -> list[Session]:
    return store.sessions.list(after=after.name if after else "", limit=limit)


def _restore(store: ManagedStore, sessions: list[Session]) -> int:
    return store.sessions.restore(sessions)
