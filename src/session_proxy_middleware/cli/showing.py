"""How services, sessions and keys are shown: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from .. import table
from ..models import Key, Service, Session
from ..rules import life
from ..stores.lines import key_line, service_line, session_line

T = TypeVar("T", Service, Session, Key)


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """How one kind of thing is shown."""

    headings: tuple[str, ...]
    row: Callable[[T], tuple[str, ...]]
    record: Callable[[T], dict[str, Any]]

    def show(self, values: Iterable[T], options: argparse.Namespace) -> None:
        """Print these: with `--json` each as one line."""
        if options.json:
            for value in values:
                say_json(self.record(value))
        else:
            for line in table.lines(self.headings, map(self.row, values)):
                say(line)


def say(line: str) -> None:
    """A line of output."""
    sys.stdout.write(f"{line}\n")


def say_json(record: dict[str, Any]) -> None:
    """A line of output for programs."""
    say(json.dumps(record))


def tell(line: str) -> None:
    """A line beside the output."""
    print(f"session-proxy: {line}", file=sys.stderr)


def moment(at: float | None) -> str:
    """A time, in UTC."""
    if at is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):  # Beyond the year 9999.
        return str(at)


def scope(values: Iterable[str] | None) -> str:
    """What a key may use."""
    return "any" if values is None else ",".join(sorted(values))


def _key_state(key: Key) -> str:
    now = time.time()
    if life.usable(key, now):
        return "good"
    early = key.not_before is not None and now < key.not_before
    return "not yet" if early else "expired"


def _key_row(key: Key) -> tuple[str, ...]:
    principal = key.principal
    return (
        key.id,
        scope(principal.services),
        scope(principal.methods),
        scope(principal.paths),
        _key_state(key),
        moment(key.not_before),
        moment(key.expires_at),
        moment(key.created_at),
        moment(key.used_at),
    )


def _key_record(key: Key) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(key_line(key))
    del record["digest"]
    if key.secret is not None:
        record["secret"] = key.secret
    return record


SERVICES: View[Service] = View(
    ("service", "ready"),
    lambda service: (service.name, "yes" if service.ready else "no"),
    lambda service: json.loads(service_line(service)),
)
SESSIONS: View[Session] = View(
    ("service", "id", "state", "upstream", "expires", "active"),
    lambda session: (
        session.service,
        session.id,
        session.state,
        session.upstream,
        moment(session.expires_at),
        moment(session.active_at),
    ),
    lambda session: json.loads(session_line(session)),
)
KEYS: View[Key] = View(
    (
        *("key", "services", "methods", "paths", "state"),
        *("not before", "expires", "created", "used"),
    ),
    _key_row,
    _key_record,
)
