"""Aligned columns for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class Table:
    """A table that is written line by line. A column is as wide as its heading, or as
    is said; a longer cell pushes what follows to the right.

    `right` are the headings of the columns that are aligned to the right.
    """

    def __init__(
        self,
        headings: Sequence[str],
        *,
        widths: Sequence[int] | None = None,
        right: Sequence[str] = (),
    ) -> None:
        wanted = [0] * len(headings) if widths is None else widths
        self._columns = [
            (max(len(heading), width), ">" if heading in right else "<")
            for heading, width in zip(headings, wanted, strict=True)
        ]
        self.heading = self.line(headings)

    def line(self, cells: Sequence[str]) -> str:
        """One line. What a terminal would obey is shown, not obeyed."""
        columns = zip(cells, self._columns, strict=True)
        aligned = (f"{plain(cell):{side}{width}}" for cell, (width, side) in columns)
        return "  ".join(aligned).rstrip()


def lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A whole table, its columns as wide as their longest cells."""
    known = [tuple(map(plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *known, strict=True)]
    table = Table(headings, widths=widths)
    yield table.heading
    yield from map(table.line, known)


def plain(text: str) -> str:
    """The text with what cannot be printed escaped, in one line."""
    return text if text.isprintable() else repr(text)[1:-1]
