"""Packages that a command needs and the package itself does not."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import ConfigError


def needs(command: str, *packages: str, extra: str) -> None:
    """Raises `ConfigError`, naming the extra, where one of these is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{command} needs {', '.join(missing)}: "
            f'pip install "session-proxy-middleware[{extra}]"'
        )
