"""What the admin API can do is a table of operations; this is what a row says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .members import Members, Parameters

Part = Literal["services", "sessions", "keys"]


@dataclass(slots=True)
class Call:
    """A method of a part of the store to call, with await or without."""

    part: Part
    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Asked:
    """An operation as somebody has asked for it."""

    names: dict[str, str]
    """What stands in the path: `service`, `session_id`, `key_id`."""
    query: dict[str, Any]
    members: dict[str, Any] = field(repr=False)
    """Of the body. They may hold a secret."""
    mount: str
    """The path that the API is mounted at, as it may stand in a URL."""
    fresh_id: str
    """For a session that is given none."""
    reserved: Callable[[str], bool] = field(repr=False)
    """Whether a secret is an admin key's, and so not for a public one."""


@dataclass(slots=True)
class Outcome:
    """What an operation has to say. `path` is where what it made is found, below the
    mount; `names` and `values` are what was changed, for the audit record."""

    status: int
    shown: Mapping[str, Any] | None = field(default=None, repr=False)
    path: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


Performed = Generator[Call, Any, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """A row of the table.

    `perform` yields what it asks of the store and returns the outcome.

    Raises (from `perform`): the `ProxyError` of the case.
    """

    id: str
    """As clients generated from the description call it."""
    action: str
    """As the audit record calls it."""
    method: str
    path: str
    summary: str
    perform: Callable[[Asked], Performed]
    query: Parameters = field(default_factory=dict)
    members: Members | None = None
    """Of the body; None where there is none to be read."""
    answers: Mapping[int, tuple[str, str | None]]
    """What each status of success means, and the schema of its body."""
    refusals: tuple[int, ...] = ()
    """Statuses beside those that any operation may answer."""

    @property
    def changes(self) -> bool:
        """Whether it leaves an audit record."""
        return self.method != "GET"
