"""What `session-proxy explain` tells of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Any

from .. import table
from ..errors import (
    Draining,
    InvalidCredential,
    ProxyError,
    ServiceNotFound,
    ServiceNotReady,
    SessionNotFound,
    SessionStarting,
)
from ..exchange import FindKey, FindService, FindSession
from ..models import Field, Key, Outbound, Reply, Service, Session
from ..proxy import SessionProxy
from ..rules.verdicts import verdicts
from ..stores.managed import ManagedStore
from ..upstream import h1
from .rehearsal import Rehearsal
from .showing import KEYS, SERVICES, SESSIONS, moment, scope

SECRET_FIELDS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""Fields whose values are shown nowhere."""

Record = dict[str, Any]

_SCOPES = ("services", "methods", "paths")

_REASONS = {
    ServiceNotReady: "the service is registered and not ready",
    SessionStarting: "the session has not become ready yet",
    Draining: "the session takes no new requests",
}
_HINTS = {
    "unauthenticated": "give a key with SESSION_PROXY_KEY or --key-file",
    "service_not_found": "session-proxy services create {service}, or another key",
    "session_not_found": "session-proxy sessions create {service} UPSTREAM --id {id}",
    "service_not_ready": "session-proxy services ready {service}",
    "session_starting": "session-proxy sessions ready {service} {id}, or --ready-wait",
    "forbidden": "session-proxy keys create, with this method and path",
    "reserved_path": "--reserved-paths says which these are",
    "body_too_large": "--limits-body",
    "headers_too_large": "--limits-header-fields, --limits-header-bytes",
    "upstream_unreachable": "--allowed-networks, or another upstream",
    "store_unavailable": "session-proxy check",
}


def account(found: Rehearsal, proxy: SessionProxy, store: ManagedStore) -> Record:
    """All that was found out, as values for JSON."""
    route = found.request.route
    key: Key | None = found.answers.get(FindKey, (None, None))[1]
    service: Service | None = found.answers.get(FindService, (None, None))[1]
    session: Session | None = found.answers.get(FindSession, (None, None))[1]
    told: Record = {
        "outcome": "forwarded",
        "route": {
            "service": route.service,
            "session_id": route.session_id,
            "path": None if route.target is None else _text(route.target),
        },
        "key": None if key is None else KEYS.record(key),
        "service": None if service is None else SERVICES.record(service),
        "session": None if session is None else SESSIONS.record(session),
        "held": None,
    }
    if found.waits:
        told["held"] = {"seconds": proxy.ready_wait, "path": proxy.ready_path}
    if found.outbound is not None:
        return told | _forwarded(found, found.outbound, proxy)
    return told | _answered(found, store)


def _forwarded(found: Rehearsal, outbound: Outbound, proxy: SessionProxy) -> Record:
    policy = proxy.header_policy
    fields = [
        _field(each.what, each.field, each.why)
        for each in verdicts(found.request, outbound, policy)
    ]
    name, colon, value = h1.framing(outbound, outbound.length).strip().partition(b": ")
    if colon:
        why = "frames the body on the next hop (RFC 9112 §6)"
        fields.append(_field("added", (name, value), why))
    return {
        "origin": outbound.session.origin.url,
        "method": _text(outbound.method),
        "target": _text(outbound.target),
        "headers": fields,
    }


def _answered(found: Rehearsal, store: ManagedStore) -> Record:
    reply: Reply | None = found.reply
    status = reply.status if reply is not None else None
    refusal = reply.refusal if reply is not None else None
    if not isinstance(refusal, ProxyError):
        why = "a CORS preflight, which the proxy answers itself"
        return {"outcome": "answered", "status": status, "reason": why}
    return {
        "outcome": "refused",
        "status": status,
        "slug": refusal.slug,
        "error": refusal.sentence,
        "reason": _reason(refusal, found, store),
        "hint": _hint(refusal, found),
    }


def _reason(refusal: ProxyError, found: Rehearsal, store: ManagedStore) -> str:
    """Why, as far as the flow knows; of a key or session that may not be used now the
    store knows more."""
    if isinstance(refusal, InvalidCredential) and FindKey in found.answers:
        key = store.backend.find_key(found.answers[FindKey][0].digest).run()
        if key is None:
            return "the store has no such key: it was never made, or is revoked"
        since, until = moment(key.not_before), moment(key.expires_at)
        return f"key {key.id} is not good now, but from {since} to {until}"
    if isinstance(refusal, SessionNotFound) and FindSession in found.answers:
        asked = found.answers[FindSession][0]
        session = store.sessions.find(asked.service, asked.id)
        if session is None:
            return "the store has no such session"
        return f"it ended at {moment(session.expires_at)}"
    if isinstance(refusal, ServiceNotFound) and FindService in found.answers:
        return "the store has no such service"
    return _REASONS.get(type(refusal)) or str(refusal) or refusal.sentence


def _hint(refusal: ProxyError, found: Rehearsal) -> str | None:
    route = found.request.route
    names = {"service": quote(route.service), "id": quote(route.session_id or "ID")}
    hint = _HINTS.get(refusal.slug)
    return None if hint is None else hint.format(**names)


def told(found: Record) -> Iterator[str]:
    """The same as lines."""
    outcome = found["outcome"]
    yield from _facts(found)
    if outcome == "forwarded":
        sent = f"{found['method']} {found['target']} to {found['origin']}"
        yield _line("request", sent)
        yield ""
        rows = [
            (each["what"], f"{each['name']}: {each['value']}", each["why"])
            for each in found["headers"]
        ]
        yield from table.lines(("header", "field", "why"), rows)
        yield ""
        yield _line("outcome", "forwarded")
        return
    answer = f" with {found['status']}" if found.get("status") else ""
    slug = f" {found['slug']} ({found['error']})" if "slug" in found else ""
    yield _line("outcome", f"{outcome.replace('_', ' ')}{answer}{slug}")
    yield _line("why", found["reason"])
    if found.get("hint"):
        yield _line("try", found["hint"])


def _facts(found: Record) -> Iterator[str]:
    """What was found on the way: the path's parts, and what the store said."""
    if route := found.get("route"):
        service, id = route["service"], route["session_id"] or "(no session id)"
        path = route["path"] or "(no path)"
        yield _line("route", f"service {service}, session {id}, path {path}")
    if key := found.get("key"):
        scopes = (f"{name} {scope(key[name])}" for name in _SCOPES)
        yield _line("key", f"{key['id']}: {', '.join(scopes)}")
    if service := found.get("service"):
        yield _line("service", "ready" if service["ready"] else "not ready")
    if session := found.get("session"):
        until = f"{session['state']} until {moment(session['expires_at'])}"
        yield _line("session", f"{until}, at {session['upstream']}")
    if held := found.get("held"):
        probe = f"{held['path']} says" if held["path"] else "an answer of it says"
        wait = f"for up to {held['seconds']:g} s, until {probe} that it is ready"
        yield _line("held", wait)


def _line(name: str, value: str) -> str:
    return f"{name:<8} {table.plain(value)}"


def _field(what: str, field: Field, why: str) -> Record:
    name, value = field
    shown = "…" if name in SECRET_FIELDS else _text(value)
    return {"what": what, "name": _text(name), "value": shown, "why": why}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
