"""The proxy: every option and collaborator, checked and prepared once."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import ssl
from collections.abc import Collection
from typing import Any, Literal, TypeVar

from . import mounts
from .activity import Activity
from .draining import Chain, Drain
from .errors import ConfigError
from .interfaces import AsyncTransport, Authenticator, Store, Transport
from .limiter import Limiter
from .options import CORS, Caching, Limits, Timeouts, WebSockets, seconds
from .passage import Passages
from .rules.cors import CrossOrigin
from .rules.forwarding import HeaderPolicy
from .rules.networks import Networks
from .rules.route import UUID, RouteMatcher
from .rules.scope import reserved_paths as checked_reserved_paths
from .stores import checked_store
from .stores.cache import CachedStore
from .upstream.aio import AsyncHTTP11Transport
from .upstream.blocking import HTTP11Transport
from .upstream.dialling import Dialler
from .upstream.httpx_transport import (
    AsyncHTTPXTransport,
    HTTPXTransport,
    is_client,
    library_of,
)

T = TypeVar("T")

log = logging.getLogger("session_proxy")

# Ids need not be secret, only different: also in the children of a fork.
_ids = random.Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)

PATROL = 1.0
"""Seconds, at the least, between two questions whether the sessions of requests that
are under way have ended elsewhere."""

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
    - `allowed_networks`: where sessions may be, like `["10.0.0.0/8"]`; the default
      is anywhere but link-local and metadata addresses (see `rules.networks`).
    - `ssl_context`: for `https` sessions, instead of the system's trust. Its option
      `ssl.OP_IGNORE_UNEXPECTED_EOF`, which would hide truncation, is taken out.
    - `caching`: how long answers of the store are relied on (see `Caching`).
    - `timeouts`, `limits`: see `Timeouts`, `Limits`.
    - `forwarded`: `set`, `append` or `off` (see `rules.forwarded`).
    - `session_id_header`: the field that tells the session its own id.
    - `reserved_paths`: paths of the session that only the platform may call.
    - `cookies`: of sessions, in browsers: `isolate`, `drop` or `forward` (see
      `rules.cookies`).
    - `isolation`: of sessions' pages: `sandbox` or `off` (see `rules.isolation`).
    - `cors`: which pages of other origins may call sessions (see `CORS`); None
      leaves that to the sessions.
    - `websockets`: see `WebSockets`.
    - `drain`: seconds that requests under way are given when the host shuts down.
      25, because gunicorn and Kubernetes kill what still runs after 30.
    - `ready_wait`: seconds that requests to a session that is `starting` are held.
    - `ready_path`: what to GET from such a session, ready when it answers 2xx; without
      one it is ready when it answers at all.
    - `contract`: `extended`, or `strict` to answer 500 for 501 to 504 and 508.

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
        allowed_networks: Collection[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        caching: Caching | None = None,
        forwarded: Literal["set", "append", "off"] = "set",
        session_id_header: str = "x-daily-session-id",
        reserved_paths: Collection[str] = ("/bot",),
        cookies: Literal["isolate", "drop", "forward"] = "isolate",
        isolation: Literal["sandbox", "off"] = "sandbox",
        cors: CORS | None = None,
        drain: float = 25.0,
        contract: Literal["extended", "strict"] = "extended",
        websockets: WebSockets | None = None,
        ready_wait: float = 0.0,
        ready_path: str | None = None,
    ) -> None:
        self.store = checked_store(store)
        caching = _instance("caching", caching, Caching)
        known: Any = self.store
        self.lookups: Store = self.store
        if not getattr(self.store, "immediate", False):
            known = self.lookups = CachedStore(self.store, caching)
        # What the flow knows without asking; the rest is a step for the driver.
        immediate = known is self.store
        self.known_key = known.keys.lookup if immediate else known.keys.peek
        self.known_service = known.services.lookup if immediate else known.services.peek
        self.known_session = known.sessions.lookup if immediate else known.sessions.peek
        self.match = RouteMatcher(prefix, session_id_pattern)
        self.passages = Passages(self.match.forget)
        mounts.publish(self, prefix)
        if authenticate is not None and not callable(authenticate):
            raise ConfigError(
                f"authenticate must be a callable or None, not {authenticate!r}"
            )
        self.authenticate = authenticate
        self.timeouts = _instance("timeouts", timeouts, Timeouts)
        self.limits = _instance("limits", limits, Limits)
        self.websockets = _instance("websockets", websockets, WebSockets)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigError(
                f"ssl_context must be an ssl.SSLContext, not {ssl_context!r}"
            )
        if contract not in CONTRACTS:
            raise ConfigError(
                f"contract must be one of {', '.join(CONTRACTS)}, not {contract!r}"
            )
        self.strict = contract == "strict"
        if cors is not None and not isinstance(cors, CORS):
            raise ConfigError(f"cors must be CORS(...) or None, not {cors!r}")
        self.cors = CrossOrigin(cors) if cors is not None else None
        self.header_policy = HeaderPolicy(
            forwarded=forwarded,
            session_id_header=session_id_header,
            max_fields=self.limits.header_fields,
            max_bytes=self.limits.header_bytes,
            cookies=cookies,
            isolation=isolation,
            owns_cors=cors is not None,
            private=authenticate is not None,
        )
        self.reserved_paths = checked_reserved_paths(reserved_paths)
        self.limiter = Limiter(self.limits)
        self.draining = Drain(seconds("drain", drain))
        self._chain = Chain(self.drain)
        self.ready_wait = seconds("ready_wait", ready_wait)
        self.patrol = max(PATROL, caching.found)
        self.ready_path = _path("ready_path", ready_path)
        activity = Activity(self.store, keys=authenticate is None)
        self.activity = activity if activity.wanted else None
        self._ssl_context = ssl_context
        self.networks = Networks(allowed_networks)
        self._transport = _checked_transport(transport)
        own = transport is not None and library_of(transport) is None
        if own and allowed_networks is not None:
            raise ConfigError(
                "allowed_networks is for the transport that the proxy makes; give "
                "one of your own networks=Networks([...])"
            )

    @classmethod
    def for_pipecat(cls, store: Store | str, **options: Any) -> SessionProxy:
        """A proxy for bots on Pipecat's base image: the first call after a start is
        held for up to 10 s, until the bot's `/readyz` says that it is there. Each
        option may be given all the same."""
        return cls(store, **{"ready_wait": 10.0, "ready_path": "/readyz", **options})

    def drain(self) -> None:
        """Take no new requests: they get 503 `draining`. Those in flight go on for as
        long as the option `drain` says; what is then left is broken off, visibly.

        The ASGI middleware calls it at the lifespan's shutdown. It may be called again,
        from any thread, and from a signal handler.
        """
        self.limiter.draining = True
        self.draining.begin()

    def drain_at(self, *signals: int) -> None:
        """Begin to drain when one of these comes, before the server handles it.

        Servers tell an application of their end only when its requests have ended, or
        not at all. Call it in the main thread, once the server has set its handlers:
        in the lifespan's startup, or in gunicorn's `post_worker_init`. Where nobody
        handles the signal (hypercorn's workers get none, a test client is no server)
        it is left alone, and the log says so.
        """
        for number in signals:
            if not self._chain.add(number):
                log.warning(
                    "drain_at: no server handles %s here, so nothing begins to drain",
                    signal.Signals(number).name,
                )

    def resume(self) -> None:
        """Take requests again. The ASGI middleware calls it at the lifespan's startup:
        test clients start and end an application many times."""
        self.limiter.draining = False
        self.draining.resume()

    async def aclose(self) -> None:
        """Close what the store has open for the running event loop. It opens it again
        when it is asked."""
        aclose = getattr(self.store, "aclose", None)
        if aclose is not None:
            await aclose()

    def new_request_id(self) -> bytes:
        """An id for a request whose client sent none: 128 random bits in hex."""
        return b"%032x" % _ids.getrandbits(128)

    def async_transport(self, timeouts: Timeouts | None = None) -> AsyncTransport:
        """The transport for the ASGI driver; with `timeouts` of its own for probes.

        Raises:
            ConfigError: the one that was given is sync only.
        """
        given = self._transport
        timeouts = timeouts or self.timeouts
        if given is None:
            return AsyncHTTP11Transport(
                timeouts=timeouts,
                ssl_context=self._ssl_context,
                networks=self.networks,
            )
        if hasattr(given, "handle_async_request"):
            return AsyncHTTPXTransport(given, timeouts=timeouts, networks=self.networks)
        if isinstance(given, AsyncTransport):
            return given
        raise ConfigError(
            f"transport {type(given).__name__} is sync: the ASGI middleware needs an "
            "async one, like httpx.AsyncHTTPTransport()"
        )

    def dialler(self) -> Dialler:
        """What opens sessions' WebSockets: that of this package's own transport, also
        of one that was given. Those of httpx open none."""
        given = self._transport
        if isinstance(given, AsyncHTTP11Transport):
            return given.dialler
        return Dialler(self.timeouts.connect, self._ssl_context, self.networks)

    def blocking_transport(self, timeouts: Timeouts | None = None) -> Transport:
        """The transport for the WSGI driver; with `timeouts` of its own for probes.

        Raises:
            ConfigError: the one that was given is async only.
        """
        given = self._transport
        timeouts = timeouts or self.timeouts
        if given is None:
            return HTTP11Transport(
                timeouts=timeouts,
                ssl_context=self._ssl_context,
                networks=self.networks,
                drain=self.draining,
            )
        if hasattr(given, "handle_request"):
            return HTTPXTransport(given, timeouts=timeouts, networks=self.networks)
        if isinstance(given, Transport):
            return given
        raise ConfigError(
            f"transport {type(given).__name__} is async: the WSGI middleware needs a "
            "sync one, like httpx.HTTPTransport()"
        )


def _path(option: str, value: str | None) -> str | None:
    if value is not None and (
        not isinstance(value, str) or not re.fullmatch(r"/[\x21-\x7e]*", value)
    ):
        raise ConfigError(f"{option} must be a path like '/readyz', not {value!r}")
    return value


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
