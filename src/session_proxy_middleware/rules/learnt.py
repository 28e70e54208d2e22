"""What is found out once for a name and then remembered. Peers choose the names, before
anybody knows who they are: both their number and their length have bounds."""

from __future__ import annotations

from typing import TypeVar

Name = TypeVar("Name")
Value = TypeVar("Value")

MOST = 4096
LONGEST = 128
"""Bytes. A longer name is looked at each time."""


class Learnt(dict[bytes, int]):
    """Looked up like a dictionary; `find` answers for a name that is not there yet."""

    most = MOST

    def find(self, name: bytes) -> int:
        """What is to be remembered of the name."""
        raise NotImplementedError

    def __missing__(self, name: bytes) -> int:
        value = self.find(name)
        if len(self) < self.most and len(name) <= LONGEST:
            self[name] = value
        return value


def keep(known: dict[Name, Value], name: Name, value: Value, most: int) -> None:
    """Remember one more. When there are `most` all go: whatever is in use comes back,
    and no look-up pays for keeping them in an order."""
    if len(known) >= most:
        known.clear()
    known[name] = value
