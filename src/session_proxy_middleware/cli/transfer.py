"""`import` and `export`: lines of JSON.

An import is read and checked whole before anything is written. What is there already
is left as it is, so that one which a failing store cut short can be run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic

from ..errors import ConfigError, StoreUnavailable
from ..stores.lines import identities
from ..stores.managed import ManagedStore
from .arguments import add_json, add_store, bytes_in, leaf
from .failure import Failure
from .opened import opened
from .paging import PAGE
from .showing import T, say, tell

NAMED = 20
"""How many wrong lines are named."""
LONGEST = 300
"""Characters of what is said of one."""


@dataclass(frozen=True, slots=True)
class Transfer(Generic[T]):
    """How one kind of thing leaves a store and comes back."""

    line: Callable[[T], str]
    of_line: Callable[[str], T]
    page: Callable[[ManagedStore, T | None, int], list[T]]
    """Those after one of them, so many at most."""
    restore: Callable[[ManagedStore, list[T]], int]

    def add(self, commands: Any, kind: str) -> None:
        """Add the two commands."""
        export = leaf(commands, "export", self._export, f"write {kind} as JSON lines")
        add_store(export)
        bring = leaf(commands, "import", self._import, f"read {kind} from JSON lines")
        bring.description = (
            f"Puts back {kind} that were exported. All lines are checked first: if one "
            "is wrong, nothing is imported. What is there already is left as it is."
        )
        bring.add_argument(
            "file", nargs="?", default="-", help="where from (default: standard input)"
        )
        add_store(bring)
        add_json(bring)

    def _export(self, options: argparse.Namespace) -> int:
        with opened(options) as store:
            last: T | None = None
            while found := self.page(store, last, PAGE):
                for each in found:
                    say(self.line(each))
                last = found[-1]
        return 0

    def _import(self, options: argparse.Namespace) -> int:
        lines = bytes_in(options.file).removeprefix(b"\xef\xbb\xbf").split(b"\n")
        self._check(lines)
        put = read = 0
        with opened(options, new=True) as store:
            try:
                for batch in self._batches(lines):
                    put += self.restore(store, batch)
                    read += len(batch)
            except StoreUnavailable as error:
                raise Failure(
                    f"the store failed after {read} lines ({error}); import the same "
                    "again: what is there is left as it is"
                ) from error
        there = read - put
        if options.json:
            say(json.dumps({"imported": put, "there": there}))
        else:
            say(f"imported {put}; {there} were there already and are as they were")
        return 0

    def _check(self, lines: list[bytes]) -> None:
        """Raises `Failure` unless all of them are right."""
        seen: dict[Hashable, int] = {}
        wrong = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                names = identities(self.of_line(line.decode()))
                twin = next((seen[each] for each in names if each in seen), None)
                if twin is not None:
                    raise ConfigError(f"is the same as in line {twin}")
                seen.update(dict.fromkeys(names, number))
            except (ConfigError, UnicodeDecodeError) as error:
                wrong += 1
                if wrong <= NAMED:
                    what = (
                        str(error) if isinstance(error, ConfigError) else "is no text"
                    )
                    tell(f"line {number}: {what[:LONGEST]}")
        if wrong:
            more = f" ({wrong - NAMED} more are wrong)" if wrong > NAMED else ""
            raise Failure(f"nothing was imported: correct these lines first{more}")

    def _batches(self, lines: list[bytes]) -> Iterator[list[T]]:
        batch: list[T] = []
        for line in lines:
            if line.strip():
                batch.append(self.of_line(line.decode()))
            if len(batch) == PAGE:
                yield batch
                batch = []
        if batch:
            yield batch
