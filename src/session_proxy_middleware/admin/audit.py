"""Who changed what: one record for each change, and each that was tried."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .operation import Operation

log = logging.getLogger("session_proxy.admin")

REFUSED = 401


@dataclass(slots=True)
class Record:
    """What is known of a request so far. Never a secret."""

    request_id: str
    method: str
    path: str
    client: str | None
    admin: str | None = None
    """The id of the admin key, or what the `authenticate` hook says."""
    operation: Operation | None = None
    names: dict[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def write(self, status: int) -> None:
        """The request is answered with this status; 499 when it was broken off, and
        whether the change was made is not known.

        One line, and the same as attributes (`extra`) for programs.
        """
        operation = self.operation
        if status == REFUSED:
            level, action = logging.WARNING, None
        elif operation is not None and operation.changes:
            level, action = logging.INFO, operation.action
        else:
            return
        log.log(
            level,
            # Quoted: decoded, a name could hold a line break.
            "%s %s %s %d",
            self.admin or "nobody",
            action or self.method,
            " ".join(f"{name}={quote(self.names[name])}" for name in self.names)
            or quote(self.path),
            status,
            extra={
                "request_id": self.request_id,
                "admin": self.admin,
                "client": self.client,
                "action": action,
                "status": status,
                "service": self.names.get("service"),
                "session_id": self.names.get("session_id"),
                "key_id": self.names.get("key_id"),
                "values": dict(self.values),
            },
        )
