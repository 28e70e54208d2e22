"""`session-proxy services …`"""

from __future__ import annotations

import argparse
from typing import Any

from ..models import Service
from ..stores.lines import service_line, service_of_line
from ..stores.managed import ManagedStore
from .arguments import Parser, add_json, add_store, branch, leaf
from .failure import Failure
from .opened import opened
from .showing import SERVICES, say, say_json
from .transfer import Transfer


def add(commands: Any) -> None:
    """Add the commands."""
    mine = branch(commands, "services", "kinds of sessions: create, list, remove …")
    create = _leaf(mine, "create", _create, "register a service, or change it")
    create.add_argument(
        "--not-ready", action="store_true", help="its sessions answer PCC-1001"
    )
    _named(create)
    listing = _leaf(mine, "list", _list, "list all services")
    add_json(listing)
    _named(_leaf(mine, "show", _show, "show a service"))
    _named(_leaf(mine, "ready", _ready, "let its sessions be called"))
    _named(_leaf(mine, "not-ready", _not_ready, "answer PCC-1001 for its sessions"))
    _named(_leaf(mine, "remove", _remove, "forget it; its sessions answer 404"))
    Transfer(service_line, service_of_line, _all, _restore).add(mine, "services")


def _leaf(commands: Any, name: str, run: Any, help: str) -> Parser:
    parser = leaf(commands, name, run, help)
    add_store(parser)
    return parser


def _named(parser: Parser) -> None:
    parser.add_argument("name", help="the service")
    add_json(parser)


def _create(options: argparse.Namespace) -> int:
    with opened(options, new=True) as store:
        service = store.services.put(options.name, ready=not options.not_ready)
    SERVICES.show([service], options)
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened(options) as store:
        SERVICES.show(store.services.list(), options)
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened(options) as store:
        SERVICES.show([_found(store, options.name)], options)
    return 0


def _ready(options: argparse.Namespace) -> int:
    return _change(options, ready=True)


def _not_ready(options: argparse.Namespace) -> int:
    return _change(options, ready=False)


def _change(options: argparse.Namespace, *, ready: bool) -> int:
    with opened(options) as store:
        name = _found(store, options.name).name
        SERVICES.show([store.services.put(name, ready=ready)], options)
    return 0


def _remove(options: argparse.Namespace) -> int:
    with opened(options) as store:
        if not store.services.remove(options.name):
            raise _unknown(options.name)
    if options.json:
        say_json({"name": options.name, "removed": True})
    else:
        say(f"removed {options.name!r}: its sessions answer 404")
    return 0


def _found(store: ManagedStore, name: str) -> Service:
    service = store.services.lookup(name)
    if service is None:
        raise _unknown(name)
    return service


def _unknown(name: str) -> Failure:
    return Failure(
        f"there is no service {name!r}; 'session-proxy services list' shows all"
    )


def _all(store: ManagedStore, after: Service | None, limit: int) -> list[Service]:
    return [] if after is not None else store.services.list()


def _restore(store: ManagedStore, services: list[Service]) -> int:
    return store.services.restore(services)
