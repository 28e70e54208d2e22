"""The URL of a store as it may be shown: what is secret in it is not."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

_FILES = ("memory:", "sqlite:")
# User and password may stand before the one "@"; of what follows, nothing is secret up
# to the options. With a "/", "?" or "#" unencoded in a password it would not look so.
_PLAIN = re.compile(r"([a-z]+://)(?:[^/?#@]*@)?([^?#@]*)(?:\?[^#@]*)?")


def shown(url: str) -> str:
    """The URL without user, password and options. Of one that is not plainly to be
    taken apart only the scheme is shown."""
    if url.startswith(_FILES):
        return url
    found = _PLAIN.fullmatch(url)
    if found is not None:
        return found[1] + found[2]
    scheme = re.match("[a-z]+:(?://)?", url)
    return f"{scheme[0] if scheme else ''}…"


def plain(url: str) -> bool:
    """Whether the URL is written so that one can tell what in it is secret."""
    return _PLAIN.fullmatch(url) is not None


def has_password(url: str) -> bool:
    """Whether the URL holds a password, or may."""
    if url.startswith(_FILES):
        return False
    before, at, _ = url.partition("://")[2].rpartition("@")
    if at and ":" in before:
        return True
    options = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    return any("password" in name.lower() for name, _ in options)
