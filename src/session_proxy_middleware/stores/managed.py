"""What every store of this package is: three parts over one backend."""

from __future__ import annotations

from ..interfaces import Backend
from .keys import Keys
from .services import Services
from .sessions import Sessions
from .watching import Listener, Watchers


class ManagedStore:
    """A `Store` that can also be written to, over any `Backend`.

    Every method of its parts has an async twin with an `a` prefix.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._watchers = Watchers()
        self.services = Services(backend, self._watchers)
        self.sessions = Sessions(backend, self._watchers)
        self.keys = Keys(backend, self._watchers)

    def close(self) -> None:
        """Close what is open and not in use, but for event loops. A store that is
        asked again opens it again; one in memory has nothing open."""

    async def aclose(self) -> None:
        """Close what is open for the running event loop."""

    def watch(self, listener: Listener) -> None:
        """See `interfaces.Store`."""
        self._watchers.add(listener)
