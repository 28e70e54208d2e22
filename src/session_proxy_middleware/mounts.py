"""What of this process is public, and what must not be."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from .errors import ConfigError


class Internal:
    """An application that is never to be served to the public."""


def check_wrapped(app: object) -> None:
    """Raises `ConfigError` for an application that the public must not reach."""
    if isinstance(app, Internal):
        raise ConfigError(
            "app must be the application to wrap, not the admin API: that is not for "
            "the public; serve it on a port or at a path of its own"
        )


def publish(owner: object, prefix: str) -> None:
    """As long as `owner` lives, paths under `prefix` are public."""
    _PUBLIC[owner] = prefix


def public_prefix(mount: str) -> str | None:
    """The public prefix that something mounted at this path would lie under.

    None when there is none, as far as this process knows. An empty prefix says
    nothing: then every path of the server begins with it.
    """
    for prefix in {*_PUBLIC.copy().values()}:
        if prefix and f"{mount}/".startswith(f"{prefix}/"):
            return prefix
    return None


_PUBLIC: WeakKeyDictionary[object, str] = WeakKeyDictionary()
