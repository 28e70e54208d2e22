"""What goes wrong with a command that was given rightly."""

from __future__ import annotations


class Failure(Exception):
    """It could not be done; the text says why and what to do. Exit status 1."""
