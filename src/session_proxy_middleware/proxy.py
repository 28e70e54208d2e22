"""The proxy: every option and collaborator, checked and prepared once."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Collection
from typing import Any, Literal, TypeVar

from .errors import ConfigError
from .interfaces import UNKNOWN, AsyncTransport, Authenticator, Store, Transport
from .limiter import Limiter
from .options import Limits, Timeouts
from .rules.forwarding import HeaderPolicy
from .rules.route import UUID, RouteMatcher
from .rules.scope import reserved_paths as checked_reserved_paths
from .stores import open_store
from .upstream.aio import AsyncHTTP11Transport
from .upstream.blocking import HTTP11Transport
from .upstream.httpx_transport import (
    AsyncHTTPXTransport,
    HTTPXTransport,
    is_client,
    library_of,
)

T = TypeVar("T")

# Ids need not be secret, only different: also in the children of a fork.
_ids = random.Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)

CONTRACTS = ("extended", "strict")


class SessionProxy:
    """Everything a `SessionProxyMiddleware` needs, ASGI's or WSGI's.

    - `store`: a `Store`, or the URL of one (`memory://`).
    - `prefix`: what stands before `/{service}/sessions/{session_id}/{path}`.
    - `session_id_pattern`: a regular expression; the default is a UUID.
    - `authenticate`: who is calling (see `Authenticator`); the default is bearer
      keys from the store. With no keys and no authenticator every request is
      refused.
    - `transport`: a transport of this package or of httpx/httpx2; the default is
      this package's own, made of `timeouts` and `ssl_context`.
    - `ssl_context`: for `https` sessions, instead of the system's trust.
    - `timeouts`, `limits`: see `Timeouts`, `Limits`.
    - `forwarded`: `set`, `append` or `off` (see `rules.forwarded`).
    - `session_id_header`: the field that tells the session its own id.
    - `reserved_paths`: paths of the session that only the platform may call.
    - `contract`: `extended`, or `strict` to answer 500 for 501 to 504.

    Raises:
        ConfigError: an option is wrong; the text names it and what is allowed.
    """

    def __init__(
        self,
        store: Store | str,
        *,
        prefix: str = "",
        session_id_pattern: str = UUID,
        authenticate: Authenticator | None = None,
        transport: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        forwarded: Literal["set", "append", "off"] = "set",
        session_id_header: str = "x-daily-session-id",
        reserved_paths: Collection[str] = ("/bot",),
        contract: Literal["extended", "strict"] = "extended",
    ) -> None:
        self.store = open_store(store)
        # What the flow knows without asking; the rest is a step for the driver.
        immediate = getattr(self.store, "immediate", False)
        self.known_key = self.store.keys.lookup if immediate else _unknown
        self.known_service = self.store.services.lookup if immediate else _unknown
        self.known_session = self.store.sessions.lookup if immediate else _unknown
        self.match = RouteMatcher(prefix, session_id_pattern)
        if authenticate is not None and not callable(authenticate):
            raise ConfigError(
                f"authenticate must be a callable or None, not {authenticate!r}"
            )
        self.authenticate = authenticate
        self.timeouts = _instance("timeouts", timeouts, Timeouts)
        self.limits = _instance("limits", limits, Limits)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigError(
                f"ssl_context must be an ssl.SSLContext, not {ssl_context!r}"
            )
        if contract not in CONTRACTS:
            raise ConfigError(
                f"contract must be one of {', '.join(CONTRACTS)}, not {contract!r}"
            )
        self.strict = contract == "strict"
        self.header_policy = HeaderPolicy(
            forwarded=forwarded,
            session_id_header=session_id_header,
            max_fields=self.limits.header_fields,
            max_bytes=self.limits.header_bytes,
        )
        self.reserved_paths = checked_reserved_paths(reserved_paths)
        self.limiter = Limiter(self.limits)
        self._ssl_context = ssl_context
        self._transport = _checked_transport(transport)

    def drain(self) -> None:
        """Take no new requests: they get 503 `draining`. Those in flight go on."""
        self.limiter.draining = True

    def new_request_id(self) -> bytes:
        """An id for a request whose client sent none: 128 random bits in hex."""
        return b"%032x" % _ids.getrandbits(128)

    def async_transport(self) -> AsyncTransport:
        """The transport for the ASGI driver.

        Raises:
            ConfigError: the one that was given is sync only.
        """
        given = self._transport
        if given is None:
            return AsyncHTTP11Transport(
                timeouts=self.timeouts, ssl_context=self._ssl_context
            )
        if hasattr(given, "handle_async_request"):
            return AsyncHTTPXTransport(given, timeouts=self.timeouts)
        if isinstance(given, AsyncTransport):
            return given
        raise ConfigError(
            f"transport {type(given).__name__} is sync: the ASGI middleware needs an "
            "async one, like httpx.AsyncHTTPTransport()"
        )

    def blocking_transport(self) -> Transport:
        """The transport for the WSGI driver.

        Raises:
            ConfigError: the one that was given is async only.
        """
        given = self._transport
        if given is None:
            return HTTP11Transport(
                timeouts=self.timeouts, ssl_context=self._ssl_context
            )
        if hasattr(given, "handle_request"):
            return HTTPXTransport(given, timeouts=self.timeouts)
        if isinstance(given, Transport):
            return given
        raise ConfigError(
            f"transport {type(given).__name__} is async: the WSGI middleware needs a "
            "sync one, like httpx.HTTPTransport()"
        )


def _unknown(*_: Any) -> Any:
    return UNKNOWN


def _instance(option: str, value: T | None, kind: type[T]) -> T:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigError(f"{option} must be {kind.__name__}(...), not {value!r}")
    return value


def _checked_transport(transport: Any) -> Any:
    if transport is None or library_of(transport) is not None:
        return transport
    if is_client(transport):
        raise ConfigError(
            "transport must be a transport, not a client: clients share cookies "
            "between callers; pass httpx.AsyncHTTPTransport() or httpx.HTTPTransport()"
        )
    if not isinstance(transport, AsyncTransport | Transport):
        raise ConfigError(
            "transport must be a transport of this package, httpx or httpx2, "
            f"not {transport!r}"
        )
    return transport
