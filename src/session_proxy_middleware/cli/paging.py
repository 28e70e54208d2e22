"""Long lists, page by page."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from ..settings import WHOLE
from ..stores.sessions import checked_limit
from .arguments import Parser, typed
from .showing import T, View, tell

PAGE = 500
"""How many are asked for at once."""


def add_pages(parser: Parser, name: str) -> None:
    """Which part of a list."""
    parser.add_argument(
        "--limit", type=typed(WHOLE), default=100, help="how many at most (100)"
    )
    parser.add_argument(
        "--after", default="", metavar=name, help="what follows this one"
    )
    parser.add_argument("--all", action="store_true", help="all, however many")


def pages(
    options: argparse.Namespace,
    view: View[T],
    page: Callable[[str, int], list[T]],
    name: Callable[[T], str],
) -> None:
    """Show what the options ask for, and say how to see more."""
    if options.all:
        view.show(every(page, name, options.after), options)
        return
    limit = checked_limit(options.limit)
    found = page(options.after, limit + 1)
    shown = found[:limit]
    view.show(shown, options)
    if len(found) > limit:
        tell(f"there are more: --after {name(shown[-1])}, or --all")


def every(
    page: Callable[[str, int], list[T]], name: Callable[[T], str], after: str
) -> Iterator[T]:
    """All of them."""
    while found := page(after, PAGE):
        yield from found
        after = name(found[-1])
