"""What the parent tells its children, and what they make of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .. import Caching, SessionProxy

PREFIX = "/v1/public"
SERVICE = "my-agent"
NOT_READY = "new-agent"
"""A service whose deployment is not ready."""

VARIABLE = "SESSION_PROXY_DEMO"
ANSWERED_BY = "x-answered-by"
"""The header by which portal, sessions and admin API say who they are."""
ADMIN = "admin"
"""What the admin API says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """One of the demo's sessions."""

    name: str
    id: str
    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The store that portal and admin API share, the sessions in it by their names,
    and, for the admin API alone, its key."""

    store: str
    bots: tuple[Bot, ...]
    admin_key: str = field(default="", repr=False)

    def to_environment(self) -> dict[str, str]:
        """For a child: other users can't read it there, as they could in argv."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """What `to_environment` has written."""
        values = json.loads(environment[VARIABLE])
        bots = tuple(Bot(**each) for each in values.pop("bots"))
        return cls(bots=bots, **values)

    def proxy(self) -> SessionProxy:
        """The portal's proxy. It remembers nothing, so that what the admin API changes
        in another process is seen at once, and not within a second."""
        always = Caching(found=0, absent=0, keys=0)
        return SessionProxy(store=self.store, prefix=PREFIX, caching=always)

    def admin_keys(self) -> dict[str, str]:
        """Of the admin API."""
        return {"demo": self.admin_key}
