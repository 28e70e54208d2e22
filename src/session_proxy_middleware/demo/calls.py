"""The calls of the demo: what is asked, and what must come back.

One list serves both, the lines for a shell that are printed and the calls of `--check`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from . import chat
from .settings import ANSWERED_BY, NOT_READY, PREFIX, SERVICE, Bot

MIB = 1024 * 1024
UPLOADED = 3 * MIB
DOWNLOADED = 4 * MIB
PIECE = 65_536
EVENTS = 5

# RFC 6455 §1.3; the key is the one of its example.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

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
        """`portal`, the name of a session, `proxy`, or `?` for none of them."""
        if "x-session-proxy-error" in self.headers:
            return "proxy"
        return self.headers.get(ANSWERED_BY, "?")


Verify = Callable[[Answer], Fault]


def _nothing_more(_: Answer) -> Fault:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and the answer it should get."""

    name: str
    method: str = "GET"
    path: str
    key: Literal["right", "wrong", "none"] = "right"
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

    def headers(self, secret: str) -> dict[str, str]:
        """What is sent beside what every HTTP client sends."""
        headers = dict(self.fields)
        if self.key != "none":
            token = secret if self.key == "right" else "pk_wrong"
            headers["Authorization"] = f"Bearer {token}"
        if self.json is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def body(self) -> bytes | Iterator[bytes] | None:
        """The body; an iterator for one that is sent in chunks."""
        if self.uploads is not None:
            return (bytes(PIECE) for _ in range(self.uploads // PIECE))
        return None if self.json is None else json.dumps(self.json).encode()

    def command(self, portal: str, secret: str) -> str:
        """The same call as a line for the shell."""
        if self.says is not None:
            return chat.command(portal + self.path, self.headers(secret), self.says)
        words = ["curl", *self.curl]
        if self.method not in ("GET", "HEAD"):
            words += ["-X", self.method]
        for name, value in self.headers(secret).items():
            words += ["-H", f"{name}: {value}"]
        if self.json is not None:
            words += ["-d", json.dumps(self.json)]
        line = shlex.join([*words, portal + self.path])
        if self.uploads is not None:
            line = f"head -c {self.uploads} /dev/zero | {line}"
        return line


def calls(bots: tuple[Bot, ...], *, wsgi: bool = False) -> list[Call]:
    """Everything the demo shows, in the order in which it works."""
    first, second = bots
    return [*_answered(first, second, wsgi), *_refused(first, wsgi)]


def _answered(first: Bot, second: Bot, wsgi: bool) -> Iterator[Call]:
    def ask(name: str, path: str, **more: object) -> Call:
        values = {"path": _at(first, path), "answered_by": first.name, **more}
        return Call(name=name, **values)  # type: ignore[arg-type]

    yield Call(name="the portal's own page", path="/", key="none", answered_by="portal")
    yield ask("JSON from a session", "/status", verify=_says(session_id=first.id))
    yield ask(
        "JSON to a session",
        "/speak",
        method="POST",
        json={"text": "Hello"},
        status=201,
        verify=_says(said="Hello"),
    )
    yield ask(
        "a WebRTC offer",
        "/api/offer",
        method="POST",
        json={"type": "offer", "sdp": "v=0", "pc_id": "peer-1"},
        verify=_says(type="answer", pc_id="peer-1"),
    )
    yield ask(
        "its candidates (PATCH)",
        "/api/offer",
        method="PATCH",
        json={"pc_id": "peer-1", "candidates": []},
        verify=_says(status="success"),
    )
    yield ask(
        "a session's own 404",
        "/api/offer",
        method="PATCH",
        json={"pc_id": "peer-9", "candidates": []},
        status=404,
        verify=_says(detail="Peer connection not found"),
    )
    yield ask("DELETE, no content", "/context", method="DELETE", status=204)
    yield ask(
        "HEAD",
        "/recording",
        method="HEAD",
        verify=_head_of_the_recording,
        curl=("-I",),
    )
    yield ask(
        "path and query as sent",
        "/echo/a%2Fb//c;v=1?tag=a&tag=b%2Fc&text=x+y",
        verify=_says(path="/echo/a%2Fb//c;v=1", query="tag=a&tag=b%2Fc&text=x+y"),
    )
    yield ask("the key stays with the portal", "/echo/", verify=_saw_no_key)
    yield ask(
        "server-sent events",
        "/events",
        verify=_came_one_by_one,
        curl=("-i", "-N"),
    )
    yield ask(
        "a download of 4 MiB",
        "/recording",
        verify=_the_recording,
        curl=("-D", "-", "-o", "/dev/null"),
    )
    yield ask(
        "an upload in chunks",
        "/upload",
        method="POST",
        uploads=UPLOADED,
        verify=_says(received=UPLOADED),
        curl=("-i", "-T", "-"),
    )
    if not wsgi:
        yield ask(
            "a WebSocket chat",
            "/ws",
            says="Hello",
            status=101,
            verify=_says(heard="Hello"),
        )
    yield Call(
        name="the other session",
        path=_at(second, "/status"),
        answered_by=second.name,
        verify=_says(session_id=second.id),
    )


def _refused(bot: Bot, wsgi: bool) -> Iterator[Call]:
    def refuse(name: str, status: int, code: str, path: str, **more: object) -> Call:
        values = {"path": path, "verify": _code(code), **more}
        return Call(name=name, status=status, answered_by="proxy", **values)  # type: ignore[arg-type]

    status = _at(bot, "/status")
    yield refuse("no key", 401, "401", status, key="none")
    yield refuse("a wrong key", 401, "401", status, key="wrong")
    unknown = f"{PREFIX}/{SERVICE}/sessions/{uuid4()}/status"
    yield refuse("an unknown session", 404, "404", unknown)
    yield refuse("no id of a session", 404, "404", status.replace(bot.id, "latest"))
    nobody = status.replace(SERVICE, "no-agent")
    yield refuse("an unknown service", 404, "404", nobody)
    waiting = status.replace(SERVICE, NOT_READY)
    yield refuse("a service not ready", 400, "PCC-1001", waiting)
    platform = _at(bot, "/bot")
    yield refuse("a path of the platform", 404, "404", platform, method="POST", json={})
    yield refuse(
        "a dot segment",
        400,
        "SP-400-PATH",
        _at(bot, "/../../portal"),
        curl=("-i", "--path-as-is"),
    )
    yield refuse("a method not allowed", 405, "405", status, method="TRACE")
    if wsgi:
        socket = _at(bot, "/ws")
        yield refuse("a WebSocket", 501, "SP-501-WEBSOCKET", socket, fields=UPGRADE)


def _at(bot: Bot, path: str) -> str:
    return f"{PREFIX}/{SERVICE}/sessions/{bot.id}{path}"


def _says(**expected: object) -> Verify:
    def verify(answer: Answer) -> Fault:
        said = json.loads(answer.body)
        for name, value in expected.items():
            if said.get(name) != value:
                return f"{name} is {said.get(name)!r}, not {value!r}"
        return None

    return verify


def _code(code: str) -> Verify:
    return _says(code=code)


def _saw_no_key(answer: Answer) -> Fault:
    seen = json.loads(answer.body)["headers"]
    return "the session saw the key" if "authorization" in seen else None


def _head_of_the_recording(answer: Answer) -> Fault:
    length = answer.headers.get("content-length")
    if length != str(DOWNLOADED):
        return f"content-length is {length}, not {DOWNLOADED}"
    return None


def _the_recording(answer: Answer) -> Fault:
    if answer.body != bytes(range(256)) * (DOWNLOADED // 256):
        return f"{len(answer.body)} bytes that are not the recording"
    return None


def _came_one_by_one(answer: Answer) -> Fault:
    events = [
        json.loads(line.removeprefix(b"data: "))
        for line in answer.body.splitlines()
        if line
    ]
    if [event["number"] for event in events] != list(range(1, EVENTS + 1)):
        return f"{len(events)} events, not {EVENTS}"
    if answer.pieces[0][0] >= events[-1]["sent_at"]:
        return "the first event came after the last was sent"
    return None
