"""One call of the demo: what is asked, and what must come back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from . import chat
from .settings import ADMIN, ANSWERED_BY

PIECE = 65_536

Fault = str | None
"""What is wrong with an answer, or None."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back. `pieces` are the body as it arrived, each with the time, in
    seconds since the epoch."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def answered_by(self) -> str:
        """`portal`, `admin`, the name of a session, `proxy`, or `?` for none."""
        said = self.headers.get(ANSWERED_BY, "?")
        if "x-session-proxy-error" in self.headers and said != ADMIN:
            return "proxy"
        return said


Verify = Callable[[Answer], Fault]


def _nothing_more(_: Answer) -> Fault:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where calls go, and the keys they take along."""

    portal: int
    """A port, of 127.0.0.1."""
    admin: int
    secret: str = field(repr=False)
    admin_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and the answer it should get."""

    name: str
    method: str = "GET"
    to: Literal["portal", "admin"] = "portal"
    path: str
    key: Literal["public", "admin", "wrong", "none"] = "public"
    fields: dict[str, str] = field(default_factory=dict)
    """Header fields beside those that follow from the rest."""
    json: object = None
    says: str | None = None
    """Text for a WebSocket; the body of the answer is what comes back."""
    uploads: int | None = None
    """Bytes to send without saying how many."""
    status: int = 200
    answered_by: str
    verify: Verify = _nothing_more
    curl: tuple[str, ...] = ("-i",)
    """Options that make curl do the same and show it."""

    def headers(self, endpoints: Endpoints) -> dict[str, str]:
        """What is sent beside what every HTTP client sends."""
        keys = {
            "public": endpoints.secret,
            "admin": endpoints.admin_key,
            "wrong": "pk_wrong",
        }
        headers = dict(self.fields)
        if self.key in keys:
            headers["Authorization"] = f"Bearer {keys[self.key]}"
        if self.json is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def port(self, endpoints: Endpoints) -> int:
        """Where it goes."""
        return endpoints.portal if self.to == "portal" else endpoints.admin

    def url(self, endpoints: Endpoints) -> str:
        """The whole of it."""
        return f"http://127.0.0.1:{self.port(endpoints)}{self.path}"

    def body(self) -> bytes | Iterator[bytes] | None:
        """The body; an iterator for one that is sent in chunks."""
        if self.uploads is not None:
            return (bytes(PIECE) for _ in range(self.uploads // PIECE))
        return None if self.json is None else json.dumps(self.json).encode()

    def command(self, endpoints: Endpoints) -> str:
        """The same call as a line for the shell."""
        if self.says is not None:
            return chat.command(self.url(endpoints), self.headers(endpoints), self.says)
        words = ["curl", *self.curl]
        if self.method not in ("GET", "HEAD"):
            words += ["-X", self.method]
        for name, value in self.headers(endpoints).items():
            words += ["-H", f"{name}: {value}"]
        if self.json is not None:
            words += ["-d", json.dumps(self.json)]
        line = shlex.join([*words, self.url(endpoints)])
        if self.uploads is not None:
            line = f"head -c {self.uploads} /dev/zero | {line}"
        return line
