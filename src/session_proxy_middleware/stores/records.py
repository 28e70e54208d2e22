"""Services, sessions and keys as plain values: what is written into a store, or a
file."""

from __future__ import annotations

import json
from typing import Any

from ..models import Key, Principal, Service, Session
from .address import parse


def service_record(service: Service) -> dict[str, Any]:
    """The service as values that JSON knows."""
    return {"name": service.name, "ready": service.ready}


def session_record(session: Session) -> dict[str, Any]:
    """The session as values that JSON and SQL know."""
    return {
        "service": session.service,
        "id": session.id,
        "upstream": session.upstream,
        "epoch": session.epoch,
        "state": session.state,
        "ttl": session.ttl,
        "registered_at": session.registered_at,
        "expires_at": session.expires_at,
    }


def session_of(record: dict[str, Any], active_at: float | None = None) -> Session:
    """The session that a record tells of."""
    values = dict(record)
    origin, base_path = parse(values.pop("upstream"))
    return Session(origin=origin, base_path=base_path, active_at=active_at, **values)


def key_record(key: Key) -> dict[str, Any]:
    """The key as values that JSON and SQL know; never its secret."""
    principal = key.principal
    return {
        "id": key.id,
        "digest": key.digest.hex(),
        "services": list(principal.services),
        "methods": None if principal.methods is None else sorted(principal.methods),
        "paths": None if principal.paths is None else list(principal.paths),
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
    }


def key_of(record: dict[str, Any], used_at: float | None = None) -> Key:
    """The key that a record tells of."""
    values = dict(record)
    methods, paths = values.pop("methods"), values.pop("paths")
    principal = Principal(
        id=values["id"],
        services=tuple(values.pop("services")),
        methods=None if methods is None else frozenset(methods),
        paths=None if paths is None else tuple(paths),
    )
    digest = bytes.fromhex(values.pop("digest"))
    return Key(digest=digest, principal=principal, used_at=used_at, **values)


def text(record: dict[str, Any]) -> str:
    """A record as one line of JSON."""
    return json.dumps(record, separators=(",", ":"))
