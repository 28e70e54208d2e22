"""The life of one request to the admin API, written once for both drivers.

A generator that decides and never waits: it yields each question that needs I/O and
gets the answer, and the last thing it yields is the reply. Until the caller is known
neither the store is asked nor the body read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import (
    ClientDisconnected,
    ConfigError,
    InternalError,
    InvalidCredential,
    ProxyError,
    StoreUnavailable,
    Unauthenticated,
    described,
)
from ..models import Reply
from ..rules import credential
from ..rules.headers import request_id
from .audit import Record
from .errors import InvalidRequest, Misplaced, NoAdminKey, WrongAdminKey
from .members import asked, given
from .operation import Asked, Call, Outcome

if TYPE_CHECKING:
    from .administration import Administration

log = logging.getLogger("session_proxy")

BODY = 65_536
"""Bytes that a request's body may have."""


@dataclass(slots=True)
class Request:
    """What was asked, before any decision."""

    method: str
    path: str
    """Decoded, below the mount."""
    mount: str
    """Decoded; empty for an application of its own."""
    query: bytes
    authorization: tuple[bytes, ...] = field(repr=False)
    content_types: tuple[bytes, ...]
    request_ids: tuple[bytes, ...]
    client: str | None


@dataclass(slots=True)
class Authenticate:
    """Ask the `authenticate` hook; answered with an id, or None."""

    token: str = field(repr=False)


@dataclass(slots=True)
class ReadBody:
    """The whole body, of `BODY` bytes at most. May fail with `BodyTooLarge`."""


Question = Authenticate | ReadBody | Call
Step = Question | Reply
Flow = Generator[Step, Any, None]


def exchange(request: Request, admin: Administration) -> Flow:
    """Authenticate, find the operation, perform it, reply. A `ProxyError` becomes a
    reply; so does a bug, and the log tells which."""
    id = request_id(request.request_ids) or admin.new_id().encode()
    record = Record(id.decode("ascii"), request.method, request.path, request.client)
    head = request.method == "HEAD"
    reply: Reply | None = None
    try:
        outcome = yield from _answered(request, admin, record)
        reply = _reply(outcome, request, id)
    except ClientDisconnected:
        return
    except ProxyError as error:
        _report(error, record)
        reply = error.reply(id, head=head, strict=False)
    except Exception as bug:
        _report(bug, record)
        reply = InternalError().reply(id, head=head, strict=False)
    finally:
        # Here, and not after it was sent: the change is made by now.
        record.write(reply.status if reply is not None else 499)
    # Secrets and internal addresses are for whoever asked, and for no cache.
    reply.headers.append((b"cache-control", b"no-store"))
    yield reply


def _answered(
    request: Request, admin: Administration, record: Record
) -> Generator[Any, Any, Outcome]:
    admin.check_mount(request.mount)
    record.admin = yield from _admit(request, admin)
    operation, names = admin.routes.match(request.path, request.method)
    record.operation, record.names = operation, names
    query = asked(request.query, operation.query)
    members = {}
    if operation.members is not None:
        body = yield ReadBody()
        members = given(body, request.content_types, operation.members)
    performed = operation.perform(
        Asked(
            names,
            query,
            members,
            quote(request.mount),
            admin.new_id(),
            admin.reserved,
        )
    )
    try:
        outcome = yield from performed
    except ConfigError as error:
        raise InvalidRequest(str(error)) from error
    record.names = {**names, **outcome.names}
    record.values = outcome.values
    return outcome


def _admit(request: Request, admin: Administration) -> Generator[Any, Any, str]:
    """Who is it? Answers their id.

    Raises:
        NoAdminKey: no bearer token. Cookies and the like, which browsers send on
            behalf of pages of other sites, are not looked at.
        WrongAdminKey: one that is no admin key, or a public key as well.
    """
    try:
        token = credential.bearer(request.authorization)
    except InvalidCredential as error:
        raise WrongAdminKey(str(error)) from error
    except Unauthenticated as error:
        raise NoAdminKey(str(error)) from error
    if admin.holders is not None:
        who = admin.holders.holder(token)
    else:
        try:
            who = yield Authenticate(token.decode("latin-1"))
        except Unauthenticated as error:
            raise WrongAdminKey(str(error)) from error
        except OSError as error:
            raise StoreUnavailable(repr(error)) from error
    if who is None:
        raise WrongAdminKey("no such admin key")
    if not isinstance(who, str) or not who or not who.isprintable():
        raise TypeError(
            "authenticate must return the printable id of who calls, or None, "
            f"not {type(who).__name__}"
        )
    if (yield Call("keys", "lookup", (credential.digest(token),))) is not None:
        log.error("admin key %s is a public key, too, and refused here: revoke it", who)
        raise WrongAdminKey("an admin key that is a public key")
    return who


def _reply(outcome: Outcome, request: Request, id: bytes) -> Reply:
    headers = [(b"x-request-id", id)]
    body = b""
    if outcome.shown is not None:
        body = json.dumps(outcome.shown, allow_nan=False).encode()
        headers += described(body)
    if outcome.status == 201 and outcome.path is not None:
        headers.append((b"location", (quote(request.mount) + outcome.path).encode()))
    if request.method == "HEAD":
        body = b""
    return Reply(outcome.status, headers, body)


def _report(error: Exception, record: Record) -> None:
    """Trouble of our own goes to the log, with its cause; the caller's does not."""
    if isinstance(error, Misplaced):
        return
    if isinstance(error, InternalError) or not isinstance(error, ProxyError):
        cause = error.__cause__ or error
        log.error("request %s: %s", record.request_id, error, exc_info=cause)
    elif isinstance(error, StoreUnavailable) and not error.reported:
        log.warning("request %s: %s: %s", record.request_id, error.slug, error)
