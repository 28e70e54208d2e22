"""The options of a proxy by their names, as flags and in the environment.

`Timeouts(connect=...)` is `--timeouts-connect` and SESSION_PROXY_TIMEOUTS_CONNECT,
`SessionProxy(ready_wait=...)` is `--ready-wait` and SESSION_PROXY_READY_WAIT, and so
on. What a flag says wins.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError
from .interfaces import Store
from .options import CORS, Caching, Limits, Timeouts, WebSockets
from .proxy import SessionProxy
from .stores.naming import has_password

BEGINNING = "SESSION_PROXY_"
"""Of the names of all environment variables."""

GROUPS = {
    "timeouts": Timeouts,
    "limits": Limits,
    "caching": Caching,
    "cors": CORS,
    "websockets": WebSockets,
}
_TRUTH = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Kind(NamedTuple):
    """How the text of an option is read. `read` raises `ValueError`, `KeyError` or
    `OSError`."""

    what: str
    read: Callable[[str], Any]
    sign: str
    """What stands for it in a help text."""


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        raise ValueError
    return int(text)


def _listed(text: str) -> list[str]:
    if text.lower() == "none":
        return []
    return [each for each in map(str.strip, text.split(",")) if each]


def _trusting(path: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)


TEXT = Kind("text", str, "TEXT")
NUMBER = Kind("a number", float, "N")
SOME_NUMBER = Kind("a number or 'none'", _or_none(float), "N")
WHOLE = Kind("a whole number", int, "N")
SOME_WHOLE = Kind("a whole number or 'none'", _or_none(int), "N")
LIST = Kind("a list with commas, or 'none'", _listed, "A,B")
SWITCH = Kind("'true' or 'false'", lambda text: _TRUTH[text.lower()], "BOOL")
PORT = Kind("a port (0 to 65535)", _port, "PORT")
TRUST = Kind("a file of certificates", _trusting, "FILE")


@dataclass(frozen=True, slots=True)
class Setting:
    """One option."""

    name: str
    kind: Kind
    meaning: str

    @property
    def flag(self) -> str:
        """`--timeouts-connect`."""
        return f"--{self.name}"

    @property
    def key(self) -> str:
        """`timeouts_connect`: as programs name it."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """`SESSION_PROXY_TIMEOUTS_CONNECT`."""
        return BEGINNING + self.key.upper()


@dataclass(frozen=True, slots=True)
class Given:
    """What is said of an option, and where: a flag or a variable."""

    text: str
    origin: str

    def read(self, kind: Kind) -> Any:
        """Its value. Raises `ConfigError`."""
        try:
            return kind.read(self.text)
        except (ValueError, KeyError, OSError) as error:
            raise ConfigError(
                f"{self.origin}: {self.text!r} is not {kind.what}"
            ) from error


STORE = Setting("store", TEXT, "URL of the store: sqlite:///path.db, redis://…")
STORE_FILE = Setting("store-file", TEXT, "file that holds the store's URL")

PROXY = (
    Setting("prefix", TEXT, "what stands before /{service}/sessions/…"),
    Setting("session-id-pattern", TEXT, "regular expression for session ids (a UUID)"),
    Setting("allowed-networks", LIST, "where sessions may be: 10.0.0.0/8,fd00::/8"),
    Setting("ca-file", TRUST, "certificates to trust with https:// sessions"),
    Setting("timeouts-connect", NUMBER, "seconds to connect to a session (3)"),
    Setting("timeouts-response", NUMBER, "seconds to a response's head (60)"),
    Setting("timeouts-idle", NUMBER, "seconds between bytes of a body (300)"),
    Setting("timeouts-total", SOME_NUMBER, "seconds for a whole request (none)"),
    Setting("limits-per-session", SOME_WHOLE, "requests in flight, a session (100)"),
    Setting("limits-per-key", SOME_WHOLE, "requests in flight, a key (none)"),
    Setting("limits-total", SOME_WHOLE, "requests in flight, a process (10000)"),
    Setting("limits-body", SOME_WHOLE, "bytes of a request's body (none)"),
    Setting("limits-header-fields", WHOLE, "fields of a request's head (200)"),
    Setting("limits-header-bytes", WHOLE, "bytes of a request's head (65536)"),
    Setting("caching-found", NUMBER, "seconds that what is there is relied on (1)"),
    Setting("caching-absent", NUMBER, "seconds that what is not is relied on (0.5)"),
    Setting("caching-keys", NUMBER, "seconds that a key is relied on (5)"),
    Setting("caching-entries", WHOLE, "how many of each are remembered (20000)"),
    Setting("forwarded", TEXT, "set, append or off: X-Forwarded-* (set)"),
    Setting("session-id-header", TEXT, "tells a session its id (x-daily-session-id)"),
    Setting("reserved-paths", LIST, "what only the platform calls (/bot)"),
    Setting("cookies", TEXT, "isolate, drop or forward (isolate)"),
    Setting("isolation", TEXT, "of sessions' pages: sandbox or off (sandbox)"),
    Setting("cors-allow-origins", LIST, "pages that may call: https://app.example"),
    Setting("cors-allow-methods", LIST, "with these methods (all seven)"),
    Setting("cors-allow-headers", LIST, "with these request headers (*)"),
    Setting("cors-expose-headers", LIST, "and read these response headers"),
    Setting("cors-allow-credentials", SWITCH, "and send cookies (false)"),
    Setting("cors-max-age", WHOLE, "seconds that a preflight is remembered (600)"),
    Setting("websockets-allowed-origins", LIST, "pages that may open one by cookie"),
    Setting("websockets-max-message", WHOLE, "bytes of one message (16777216)"),
    Setting(
        "websockets-ping-interval", SOME_NUMBER, "seconds of silence to a ping (20)"
    ),
    Setting("websockets-compression", SWITCH, "offered to sessions (false)"),
    Setting("contract", TEXT, "extended or strict (extended)"),
    Setting("drain", NUMBER, "seconds for what runs when the process ends (25)"),
    Setting(
        "ready-wait", NUMBER, "seconds to hold requests while a session starts (0)"
    ),
    Setting("ready-path", TEXT, "path that answers 2xx once a session is ready"),
    Setting("pipecat", SWITCH, "Pipecat's base image: ready-wait 10, /readyz"),
)
"""What `serve`, `explain` and `check` know of `SessionProxy`."""


def given(
    settings: Iterable[Setting],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, Given]:
    """What is said of these, by their keys; an empty variable says nothing."""
    found = {}
    for each in settings:
        if flags.get(each.key) is not None:
            found[each.key] = Given(flags[each.key], each.flag)
        elif environment.get(each.variable):
            found[each.key] = Given(environment[each.variable], each.variable)
    return found


def store_url(flags: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The URL of the store, from a flag, a file or the environment.

    Raises:
        ConfigError: none is given, or two, or one that an argument must not hold: it
            shows in the list of processes.
    """
    both = (STORE, STORE_FILE)
    found = given(both, flags, {}) or given(both, {}, environment)
    if len(found) == 2:
        names = " and ".join(each.origin for each in found.values())
        raise ConfigError(f"give one of {names}, not both")
    if not found:
        raise ConfigError(
            f"no store: give {STORE.flag} sqlite:///path.db (or redis://…), or set "
            f"{STORE.variable}"
        )
    ((name, said),) = found.items()
    url = said.text
    if name == STORE_FILE.key:
        try:
            url = Path(said.text).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{said.origin} {said.text}: {_reason(error)}") from error
    elif said.origin == STORE.flag and has_password(url):
        raise ConfigError(
            f"a password in {STORE.flag} shows in the list of processes: set "
            f"{STORE.variable}, or give {STORE_FILE.flag}"
        )
    if url == "memory://":
        raise ConfigError(
            "memory:// is the memory of one process, and this one's would be empty: "
            "use sqlite:///path.db or redis://…"
        )
    return url


def options(said: Mapping[str, Given]) -> tuple[dict[str, Any], list[ConfigError]]:
    """The keyword arguments for a proxy, and all that is wrong with what is said."""
    wrong: list[ConfigError] = []
    found: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for each in PROXY:
        if each.key not in said:
            continue
        try:
            value = said[each.key].read(each.kind)
        except ConfigError as error:
            wrong.append(error)
            continue
        group, _, name = each.key.partition("_")
        if group in GROUPS:
            groups.setdefault(group, {})[name] = value
        else:
            found["ssl_context" if each.kind is TRUST else each.key] = value
    for group, values in groups.items():
        try:
            found[group] = GROUPS[group](**values)
        except ConfigError as error:
            wrong.append(error)
        except TypeError:  # Of CORS alone one value has no default.
            wrong.append(ConfigError("CORS needs origins: give --cors-allow-origins"))
    return found, wrong


def proxy(store: Store, said: Mapping[str, Given]) -> SessionProxy:
    """The proxy that is described. Raises `ConfigError`."""
    found, wrong = options(said)
    if wrong:
        raise wrong[0]
    return built(store, found)


def built(store: Store, found: dict[str, Any]) -> SessionProxy:
    """The proxy of these keyword arguments. Raises `ConfigError`."""
    found = dict(found)
    make = SessionProxy.for_pipecat if found.pop("pipecat", False) else SessionProxy
    return make(store, **found)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "is no text"
