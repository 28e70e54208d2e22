"""`session-proxy check`: is it all as it must be, and if not, what is to be done?"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

from .. import settings, table
from ..errors import ConfigError, StoreUnavailable
from ..proxy import SessionProxy
from ..rules import life
from ..stores import open_store
from ..stores.managed import ManagedStore
from ..stores.memory import MemoryStore
from ..stores.naming import shown
from .arguments import add_json, add_settings, add_store, leaf
from .explain import KEY
from .keys import SECRET
from .opened import missing
from .serve import SERVING
from .showing import say, say_json

LOOKED_AT = 1000
"""Keys, at most."""
PER_REQUEST = 2
"""Open files: the client's connection and the session's."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    about: str
    result: Literal["ok", "warning", "wrong"]
    detail: str


def add(commands: Any) -> None:
    """Add the command."""
    parser = leaf(
        commands, "check", _check, "are options and store as they must be? exit 0 or 1"
    )
    add_store(parser)
    add_json(parser)
    add_settings(parser, SERVING)
    add_settings(parser.add_argument_group("options of the proxy"), settings.PROXY)


def _check(options: argparse.Namespace) -> int:
    flags = vars(options)
    proxy, wrong = _proxy(flags)
    found = [*wrong, *_environment(), *_store(flags), *_server(), *_open_files(proxy)]
    if options.json:
        for each in found:
            say_json(each._asdict())
    else:
        for line in table.lines(("about", "result", "detail"), found):
            say(line)
    return 1 if any(each.result == "wrong" for each in found) else 0


def _proxy(flags: dict[str, Any]) -> tuple[SessionProxy | None, list[Finding]]:
    said = settings.given(settings.PROXY, flags, os.environ)
    found, wrong = settings.options(said)
    own = settings.given(SERVING, flags, os.environ)
    for each in SERVING:
        if each.key in own:
            try:
                own[each.key].read(each.kind)
            except ConfigError as error:
                wrong.append(error)
    proxy = None
    try:
        proxy = settings.built(MemoryStore(), found)
    except ConfigError as error:
        wrong.append(error)
    if wrong:
        return proxy, [Finding("options", "wrong", str(each)) for each in wrong]
    names = ", ".join(each.origin for each in (*said.values(), *own.values()))
    return proxy, [Finding("options", "ok", names or "all as they are by default")]


def _environment() -> Iterator[Finding]:
    options = (settings.STORE, settings.STORE_FILE, *settings.PROXY, *SERVING)
    known = {each.variable for each in options} | {KEY, SECRET}
    for name in sorted(os.environ):
        if name.startswith(settings.BEGINNING) and name not in known:
            detail = f"{name} is no option: is it misspelt?"
            yield Finding("environment", "warning", detail)


def _store(flags: dict[str, Any]) -> Iterator[Finding]:
    try:
        url = settings.store_url(flags, os.environ)
        store = open_store(url)
    except ConfigError as error:
        yield Finding("store", "wrong", str(error))
        return
    path = missing(store)
    if path is not None:
        folder = os.path.dirname(path)
        if os.access(folder, os.W_OK):
            detail = f"{path} is not there yet: the first create or serve makes it"
            yield Finding("store", "warning", detail)
        else:
            detail = f"{path} can't be made: there is no {folder}, or it is read-only"
            yield Finding("store", "wrong", detail)
        return
    try:
        started = time.perf_counter()
        store.keys.note({})  # Nothing, but as a write: SQLite takes the lock for it.
        services = store.services.list()
        took = (time.perf_counter() - started) * 1000
        yield Finding("store", "ok", f"{shown(url)} answers, in {took:.0f} ms")
        yield from _contents(store, [each.name for each in services if not each.ready])
    except StoreUnavailable as error:
        hint = "does it run, and may this user read and write it?"
        yield Finding("store", "wrong", f"{str(error).rstrip('.')}; {hint}")
    finally:
        store.close()


def _contents(store: ManagedStore, not_ready: list[str]) -> Iterator[Finding]:
    if not_ready:
        detail = f"not ready, answering PCC-1001: {', '.join(not_ready)}"
        yield Finding("services", "warning", detail)
    now = time.time()
    keys = store.keys.list(limit=LOOKED_AT)
    good = sum(life.usable(key, now) for key in keys)
    if good:
        count = f"{good} or more" if len(keys) == LOOKED_AT else str(good)
        yield Finding("keys", "ok", f"{count} good now")
    else:
        detail = "none is good now, so all get 401: session-proxy keys create"
        yield Finding("keys", "warning", detail)
    if not store.sessions.list(state="running", limit=1):
        yield Finding("sessions", "warning", "none is running: all get 404 or 503")


def _server() -> Iterator[Finding]:
    if find_spec("uvicorn") is None:
        hint = 'pip install "session-proxy-middleware[server]"'
        yield Finding("server", "warning", f"serve needs uvicorn: {hint}")


def _open_files(proxy: SessionProxy | None) -> Iterator[Finding]:
    if sys.platform == "win32" or proxy is None:
        return
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    total = proxy.limits.total
    if allowed != resource.RLIM_INFINITY and total and allowed < PER_REQUEST * total:
        detail = (
            f"this shell allows {allowed}, and {total} requests in flight need "
            f"{PER_REQUEST * total}: raise 'ulimit -n', or lower --limits-total"
        )
        yield Finding("open files", "warning", detail)
