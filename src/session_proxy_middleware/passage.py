"""How a request was let through, and whether the next one like it is as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .models import Key, Outbound, Principal, Request, Service, Session
from .rules import path
from .rules.headers import Framing, RequestFields

if TYPE_CHECKING:
    from .proxy import SessionProxy

# Different header sections that paths remember at most: they may be many more paths.
_SECTIONS = 1024


Likeness = tuple[str, str | None, str, str]


def _likeness(request: Request) -> Likeness:
    return request.method, request.client, request.scheme, request.http_version


@dataclass(slots=True, eq=False)
class Passage:
    """What was found out of a request that was let through, and what that depends on.
    While all of it is the same, a request like it is let through as well."""

    fields: RequestFields
    framing: Framing
    key: Key | None
    """None where a hook decided: it is asked each time."""
    principal: Principal
    service: Service
    session: Session
    # Once it is remembered: what requests are compared with, and what becomes of them.
    like: Likeness | None = None
    at: int = 0
    """Where among the fields the credential stands."""
    credential: int = 0
    """Its hash."""
    outbound: Outbound | None = None
    """The request that went out, without its query."""

    def remember(self, request: Request, sent: Outbound) -> None:
        """What requests are compared with: this one, and what the session gets."""
        headers = self.fields.all or ()
        own = self.fields.authorization[0]
        self.at = next(at for at, (_, value) in enumerate(headers) if value is own)
        self.credential = hash(own)
        self.like = _likeness(request)
        query = 0 if request.query is None else len(request.query) + 1
        self.outbound = replace(sent, target=sent.target[: len(sent.target) - query])


class Passages:
    """The passages that are remembered: the last of each path that the matcher does.

    `forget` makes it remember none.
    """

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._sections = 0

    def keep(self, passage: Passage, request: Request, sent: Outbound) -> None:
        """Remember how this request was let through, and that `sent` went out."""
        fields = passage.fields
        if passage.key is None or not fields.repeated:
            return  # The next one will hardly be like it.
        if not fields.pinned:
            if self._sections >= _SECTIONS:
                self._forget()
                self._sections = 0
            self._sections += 1
            fields.pinned = True
        passage.remember(request, sent)
        # Last: another thread takes it as it is.
        request.route.findings.passage = passage


def recall(request: Request, proxy: SessionProxy) -> Passage | None:
    """How a request like this was let through a moment ago, where nothing has changed
    that it was decided by. All but the query is the same then, and what is known of
    key, service and session is still the very same."""
    route = request.route
    passage: Passage | None = route.findings.passage
    if passage is None:
        return None
    fields, headers, at = passage.fields, request.headers, passage.at
    # The credential by a hash that nobody can aim at, first: comparing takes as long as
    # secrets are alike, and nothing of one may be known (GHSA-95c6-p277-p87g).
    if (
        len(headers) <= at
        or hash(headers[at][1]) != passage.credential
        or fields.all != headers
        or passage.like != _likeness(request)
    ):
        return None
    if fields.request_ids:
        request.id = fields.request_id() or request.id
    try:
        if (
            fields.digest is None
            or route.session_id is None
            or proxy.known_key(fields.digest) is not passage.key
            or proxy.known_service(route.service) is not passage.service
            or proxy.known_session(route.service, route.session_id)
            is not passage.session
        ):
            return None
    except OSError:  # Admission knows what that means.
        return None
    if request.query is not None:
        path.check_query(request.query)
    return passage
