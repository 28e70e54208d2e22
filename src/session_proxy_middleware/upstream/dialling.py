"""A new connection to a session, on asyncio: resolved, checked, and in time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConnectFailed, ConnectTimeout
from ..models import Origin, Session
from ..rules.networks import Networks
from .resolving import aresolve
from .tls import default_context, telling

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)


class Dialler:
    """Connects to sessions within `timeout` seconds, TLS included, and to the
    addresses of `networks` alone."""

    def __init__(
        self, timeout: float, ssl_context: ssl.SSLContext | None, networks: Networks
    ) -> None:
        self._timeout = timeout
        self._ssl_context = None if ssl_context is None else telling(ssl_context)
        self._networks = networks

    async def dial(
        self,
        loop: asyncio.AbstractEventLoop,
        session: Session,
        factory: Callable[[], Protocol],
    ) -> Protocol:
        """What `factory` made, connected. Raises `ConnectFailed` or
        `ConnectTimeout`."""
        origin = session.origin
        try:
            async with asyncio.timeout(self._timeout):
                if origin.scheme == "unix":
                    _, made = await loop.create_unix_connection(factory, origin.host)
                    return made
                return await self._reach(loop, origin, factory)
        except TimeoutError as error:
            raise ConnectTimeout(
                f"no connection to {session.upstream} in {self._timeout} s"
            ) from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{session.upstream}: {error}") from error

    async def _reach(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        factory: Callable[[], Protocol],
    ) -> Protocol:
        tls: dict[str, Any] = {}
        if origin.scheme == "https":
            tls["ssl"] = self._ssl_context or default_context()
            tls["server_hostname"] = origin.host
        failure: OSError | None = None
        for address in await aresolve(loop, origin, self._networks):
            try:
                _, made = await loop.create_connection(
                    factory, address, origin.port, **tls
                )
            except OSError as error:
                failure = error
            else:
                return made
        raise failure or OSError("no address")
