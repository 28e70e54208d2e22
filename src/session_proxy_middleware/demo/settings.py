"""What the parent tells the portal, and the proxy that the portal makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .. import MemoryStore, SessionProxy

PREFIX = "/v1/public"
SERVICE = "my-agent"
NOT_READY = "new-agent"
"""A service whose deployment is not ready."""

VARIABLE = "SESSION_PROXY_DEMO"
ANSWERED_BY = "x-answered-by"
"""The header by which the portal and the sessions say who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """One of the demo's sessions."""

    name: str
    id: str
    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The sessions to register and the one key that opens them."""

    bots: tuple[Bot, ...]
    secret: str = field(repr=False)

    def to_environment(self) -> dict[str, str]:
        """For a child: other users can't read it there, as they could in argv."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """What `to_environment` has written."""
        values = json.loads(environment[VARIABLE])
        bots = tuple(Bot(**each) for each in values["bots"])
        return cls(bots=bots, secret=values["secret"])

    def proxy(self) -> SessionProxy:
        """A proxy over a store that holds all this."""
        store = MemoryStore()
        store.services.put(NOT_READY, ready=False)
        for bot in self.bots:
            store.sessions.register(SERVICE, bot.id, bot.upstream)
        store.keys.create(services=[SERVICE, NOT_READY], secret=self.secret)
        return SessionProxy(store=store, prefix=PREFIX)
