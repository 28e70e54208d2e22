"""An upstream as it is registered: checked once, taken apart once."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..models import Origin

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_BASE = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)*")


def parse(url: str) -> tuple[Origin, bytes]:
    """The origin and the base path (without a trailing slash) of an upstream.

    `http://host[:port][/base]`, `https://…`, `unix:///path/to.sock[:/base]`.

    Raises:
        ConfigError: anything else, with what is wrong about it.
    """
    if not isinstance(url, str):
        raise ConfigError(f"upstream must be a URL as text, not {url!r}")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError("upstream must not hold a user name or password")
    if _BLANK.search(url):  # urlsplit would drop some of them silently.
        raise ConfigError(f"upstream must not hold blanks or controls: {url!r}")
    if url.startswith("unix:"):
        return _parse_unix(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"upstream {url!r} is not a URL: {error}") from error
    scheme, host = parts.scheme, parts.hostname
    if scheme not in _PORTS or not host:
        raise ConfigError(
            "upstream must look like 'http://10.0.3.7:8080', 'https://…' or "
            f"'unix:///run/bot.sock', not {url!r}"
        )
    if "?" in url or "#" in url:
        raise ConfigError(f"upstream must not hold a query or fragment: {url!r}")
    if not _HOST.fullmatch(host) or port == 0:
        raise ConfigError(f"upstream {url!r} has no valid host and port")
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[scheme]:
        shown += f":{port}"
    origin = Origin(
        scheme=scheme,
        host=host,
        port=port or _PORTS[scheme],
        authority=shown.encode("ascii"),
    )
    return origin, _base(parts.path, url)


def _parse_unix(url: str) -> tuple[Origin, bytes]:
    socket_path, _, base = url.removeprefix("unix://").partition(":")
    if not url.startswith("unix:///") or len(socket_path) < 2 or "\0" in url:
        raise ConfigError(
            f"upstream must look like 'unix:///run/bot.sock', not {url!r}"
        )
    origin = Origin(scheme="unix", host=socket_path, port=0, authority=b"localhost")
    return origin, _base(base, url)


def _base(path: str, url: str) -> bytes:
    path = path.rstrip("/")
    if not _BASE.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ConfigError(f"upstream {url!r} has no valid base path")
    return path.encode("ascii")
