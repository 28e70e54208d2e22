"""The calls of the demo: what is asked, and what must come back.

One list serves both, the lines for a shell that are printed and the calls of `--check`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

from .call import Answer, Call, Fault, Verify
from .settings import ADMIN, NOT_READY, PREFIX, SERVICE, Bot

MIB = 1024 * 1024
UPLOADED = 3 * MIB
DOWNLOADED = 4 * MIB
EVENTS = 5

# RFC 6455 §1.3; the key is the one of its example.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def calls(bots: tuple[Bot, ...], *, wsgi: bool = False) -> list[Call]:
    """Everything the demo shows, in the order in which it works."""
    first, second = bots
    answered = _answered(first, second, wsgi)
    return [*answered, *_administered(first), *_refused(first, wsgi)]


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


def _administered(bot: Bot) -> Iterator[Call]:
    """A session of its own at the bot's address, from beginning to end."""
    new = Bot(name=bot.name, id=str(uuid4()), upstream=bot.upstream)
    where = f"/services/{SERVICE}/sessions/{new.id}"

    def ask(name: str, method: str, path: str, **more: object) -> Call:
        values = {"to": "admin", "key": "admin", "answered_by": ADMIN, **more}
        return Call(name=name, method=method, path=path, **values)  # type: ignore[arg-type]

    yield ask(
        "admin: begin a session",
        "PUT",
        where,
        json={"upstream": new.upstream},
        status=201,
        verify=_says(id=new.id, state="running"),
    )
    yield ask(
        "admin: those that run",
        "GET",
        f"/services/{SERVICE}/sessions?state=running",
        verify=_lists(new),
    )
    yield Call(
        name="the new session",
        path=_at(new, "/status"),
        answered_by=new.name,
        verify=_says(session_id=new.id),
    )
    yield ask("admin: end it", "DELETE", where, verify=_says(state="ended"))
    yield Call(
        name="the session that has ended",
        path=_at(new, "/status"),
        status=404,
        answered_by="proxy",
        verify=_code("404"),
    )
    yield ask(
        "admin: a public key",
        "GET",
        "/services",
        key="public",
        status=401,
        verify=_code("401"),
    )


def _refused(bot: Bot, wsgi: bool) -> Iterator[Call]:
    def refuse(name: str, status: int, code: str, path: str, **more: object) -> Call:
        values = {"path": path, "verify": _code(code), **more}
        return Call(name=name, status=status, answered_by="proxy", **values)  # type: ignore[arg-type]

    status = _at(bot, "/status")
    yield refuse("no key", 401, "401", status, key="none")
    yield refuse("a wrong key", 401, "401", status, key="wrong")
    unknown = f"{PREFIX}/{SERVICE}/sessions/{uuid4()}/status"
    yield refuse("an admin key", 401, "401", status, key="admin")
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


def _lists(bot: Bot) -> Verify:
    def verify(answer: Answer) -> Fault:
        listed = [each["id"] for each in json.loads(answer.body)["sessions"]]
        return None if bot.id in listed else f"{bot.id} is not among {listed}"

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
