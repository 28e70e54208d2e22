"""Services, sessions and keys as lines of JSON: what is exported, and comes back.

A line holds what a store keeps, but for a session's epoch: one that comes back is a
registration of its own. A key's line holds its digest, since nobody has its secret.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from ..models import SESSION_TTL, Key, Service, Session
from .new_keys import checked_principal
from .records import key_record, service_record, session_record, text
from .services import checked_service
from .sessions import STATES, new_session

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LATEST = 1e12
"""Seconds since the epoch: so far no time is meant."""


def service_line(service: Service) -> str:
    """The line of a service."""
    return text(service_record(service))


def session_line(session: Session) -> str:
    """The line of a session."""
    record = {**session_record(session), "active_at": session.active_at}
    del record["epoch"]
    return text(record)


def key_line(key: Key) -> str:
    """The line of a key: its digest, never its secret."""
    return text({**key_record(key), "used_at": key.used_at})


def service_of_line(line: str) -> Service:
    """The service that a line tells of. Raises `ConfigError`, saying what is wrong."""
    values = _values(line, required={"name"}, optional={"ready"})
    ready = values.get("ready", True)
    if not isinstance(ready, bool):
        raise ConfigError(f"ready must be true or false, not {ready!r}")
    return Service(name=checked_service(values["name"]), ready=ready)


def session_of_line(line: str) -> Session:
    """The session that a line tells of, registered anew. Raises `ConfigError`."""
    values = _values(
        line,
        required={"service", "id", "upstream"},
        optional={"state", "ttl", "registered_at", "expires_at", "active_at"},
    )
    state = values.get("state", "running")
    if state not in STATES:
        raise ConfigError(f"state must be one of {', '.join(STATES)}, not {state!r}")
    ttl = values.get("ttl", SESSION_TTL)
    session = new_session(
        values["service"], values["id"], values["upstream"], "running", ttl
    )
    ends = time.time() if state == "ended" else session.expires_at
    return replace(
        session,
        state=state,
        registered_at=_moment(values, "registered_at", session.registered_at),
        expires_at=_moment(values, "expires_at", ends),
        active_at=_moment(values, "active_at", None),
    )


def key_of_line(line: str) -> Key:
    """The key that a line tells of; it opens what it opened. Raises `ConfigError`."""
    values = _values(
        line,
        required={"id", "digest", "services"},
        optional={
            *("methods", "paths", "not_before", "expires_at", "created_at", "used_at"),
        },
    )
    id, digest = values["id"], values["digest"]
    if not isinstance(id, str) or not _KEY_ID.fullmatch(id):
        raise ConfigError("id must have 1 to 64 letters, digits, '.', '_' or '-'")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ConfigError("digest must be the SHA-256 of the secret, as 64 hex digits")
    scopes = (values["services"], values.get("methods"), values.get("paths"))
    return Key(
        id=id,
        digest=bytes.fromhex(digest),
        principal=checked_principal(id, *scopes),
        not_before=_moment(values, "not_before", None),
        expires_at=_moment(values, "expires_at", None),
        created_at=_moment(values, "created_at", time.time()),
        used_at=_moment(values, "used_at", None),
    )


def identities(value: Service | Session | Key) -> tuple[Hashable, ...]:
    """What no two of a kind may share."""
    return (value.id, value.digest) if isinstance(value, Key) else (value.name,)


def _values(line: str, *, required: set[str], optional: set[str]) -> dict[str, Any]:
    try:
        values = json.loads(line)
        # A lone surrogate is text to JSON, and to no database.
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigError("holds a character that is none (a surrogate)") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError("is no JSON object")
    if missing := required - values.keys():
        raise ConfigError(f"lacks {', '.join(sorted(missing))}")
    if unknown := values.keys() - required - optional:
        raise ConfigError(
            f"has unknown fields: {', '.join(sorted(unknown))} (known are "
            f"{', '.join(sorted(required | optional))})"
        )
    return values


def _moment(values: dict[str, Any], name: str, default: Any) -> Any:
    at = values.get(name)
    if at is None:
        return default
    number = isinstance(at, int | float) and not isinstance(at, bool)
    if not number or not 0 <= at <= _LATEST:
        raise ConfigError(f"{name} must be seconds since the epoch, not {at!r}")
    return float(at)
