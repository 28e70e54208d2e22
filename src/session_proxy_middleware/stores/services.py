"""The services of a store: what is checked before, whichever backend keeps them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

from ..errors import ConfigError
from ..interfaces import Backend
from ..models import Service
from .watching import Watchers

# Not the characters of globs: a key for "bot[1]" would open "bot1".
# Nor lone surrogates, which no database takes for text.
_SERVICE = re.compile(r"[^/*?\[\]\x00-\x1f\x7f\ud800-\udfff]+")


def checked_service(name: str) -> str:
    """The name, if it can be one segment of a path.

    Raises:
        ConfigError: it can't.
    """
    dots = name in (".", "..")
    if dots or not isinstance(name, str) or not _SERVICE.fullmatch(name):
        raise ConfigError(
            "a service's name must be one path segment, without '/', '*', '?', "
            f"'[', ']' or control characters, not {name!r}"
        )
    return name


Page = list[Service]
"""Inside the class `list` is its method."""


class Services:
    """The services: `put`, `lookup`, `remove`, `list`, `restore`.

    Raises (from every method): `StoreUnavailable`.
    """

    def __init__(self, backend: Backend, watchers: Watchers) -> None:
        self._backend = backend
        self._watchers = watchers

    def put(self, name: str, *, ready: bool = True) -> Service:
        """Register a service or change it.

        Raises:
            ConfigError: the name cannot be one segment of a path.
        """
        service = Service(name=checked_service(name), ready=bool(ready))
        self._backend.put_service(service).run()
        self._watchers.tell("service", name)
        return service

    def lookup(self, name: str, /) -> Service | None:
        """The service, or None."""
        return self._backend.find_service(name).run()

    def remove(self, name: str) -> bool:
        """Forget a service; its sessions answer 404. False when it was not known."""
        removed = self._backend.remove_service(name).run()
        self._watchers.tell("service", name)
        return removed

    def list(self) -> Page:
        """All of them, by name."""
        return self._backend.list_services().run()

    def restore(self, services: Sequence[Service]) -> int:
        """Put back what was exported, in one step; how many that were. One that is
        there already is left as it is."""
        return self._told(services, self._backend.restore_services(services).run())

    async def aput(self, name: str, *, ready: bool = True) -> Service:
        """`put`, awaitable."""
        service = Service(name=checked_service(name), ready=bool(ready))
        await self._backend.put_service(service)
        self._watchers.tell("service", name)
        return service

    async def alookup(self, name: str, /) -> Service | None:
        """`lookup`, awaitable."""
        return await self._backend.find_service(name)

    async def aremove(self, name: str) -> bool:
        """`remove`, awaitable."""
        removed = await self._backend.remove_service(name)
        self._watchers.tell("service", name)
        return removed

    async def alist(self) -> Page:
        """`list`, awaitable."""
        return await self._backend.list_services()

    async def arestore(self, services: Sequence[Service]) -> int:
        """`restore`, awaitable."""
        return self._told(services, await self._backend.restore_services(services))

    def _told(self, services: Sequence[Service], put: Sequence[bool]) -> int:
        for service in compress(services, put):
            self._watchers.tell("service", service.name)
        return sum(put)
