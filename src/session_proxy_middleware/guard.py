"""The bot's side of the fence: it answers for its own session and no other.

Addresses are used again. For a moment a proxy may believe that a session is still
where another one is by now, and only the bot can know better. `SessionGuard` is put
around the bot's application: a request that the proxy meant for another session is
refused with 421 before the application sees it, and the proxy, told so by a field of
its own, looks the session up anew.

The standard library alone, and nothing else of this package: a bot may install it
without dependencies (`pip install --no-deps`), or copy this one file.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

SESSION_ID_HEADER = "x-daily-session-id"
"""Where the proxy tells a session its id: Pipecat Cloud's name for it."""

REFUSED = b"x-session-proxy-guard"
"""The field of a 421 that makes it the guard's own: its value is the id that was asked
for. The proxy takes it from the session it is connected to and never passes it on."""

MISDIRECTED = 421
"""RFC 9110 §15.5.20: the request came to the wrong server, and was not processed."""

UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""The default shape of a session id (RFC 9562 §4); case does not matter."""

_UUID = re.compile(UUID)
_BODY = json.dumps({"error": "Another session is running here", "code": "421"}).encode()

SessionId = str | Collection[str] | None
"""Which session runs here: one, several, or none."""


def canonical(session_id: str) -> str:
    """The one spelling of a session id: a UUID in lower case, others as they are."""
    return session_id.lower() if _UUID.fullmatch(session_id) else session_id


class SessionGuard:
    """Wraps the application of a bot, ASGI's (http and websocket) or WSGI's.

    - `session_id`: the session that runs here. A text; a collection of them; None as
      long as none does; or a callable that says which, asked with every request. It is
      also an attribute that may be set at any time.
    - `begins_with`: paths that begin a session: the one their request names runs here
      until that request is over. They are refused while another one runs.
    - `session_id_header`: the name of the field, where the proxy has another.

    A request without the field is let through: the proxy sends it with each, so that
    one was not sent by it, but by whoever starts the bot or asks after its health. The
    guard is no authentication.

    A WebSocket that is refused gets the 421 where the server can send one to a
    handshake, else what the server makes of a close before the accept (403).

    Raises:
        TypeError: `app` is no application, `session_id` none of these (an async
            callable neither), or `begins_with` no collection of paths.
    """

    def __new__(cls, app: Any, *_: Any, **__: Any) -> SessionGuard:
        # Servers tell ASGI from WSGI by whether `__call__` is a coroutine function.
        asynchronous = cls is SessionGuard and _is_async(app)
        return super().__new__(_AsyncGuard if asynchronous else cls)

    def __init__(
        self,
        app: Callable[..., Any],
        session_id: SessionId | Callable[[], SessionId] = None,
        *,
        begins_with: Collection[str] = (),
        session_id_header: str = SESSION_ID_HEADER,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be the application to wrap, not {app!r}")
        if inspect.iscoroutinefunction(session_id):
            raise TypeError("session_id must be a text or say one without await")
        if isinstance(begins_with, str) or not all(
            isinstance(path, str) and path.startswith("/") for path in begins_with
        ):
            raise TypeError(
                f"begins_with must be paths like ['/bot'], not {begins_with!r}"
            )
        if not callable(session_id):
            _ids(session_id)
        self.session_id = session_id
        self._app = app
        self._begins_with = frozenset(begins_with)
        self._name = session_id_header.lower().encode("latin-1")
        self._variable = "HTTP_" + session_id_header.upper().replace("-", "_")
        # One entry a request, so that two of one session need no counting: a list's
        # `append` and `remove` are atomic, whatever the threads.
        self._begun: list[str] = []

    @classmethod
    def for_pipecat(cls, app: Callable[..., Any]) -> SessionGuard:
        """The guard for Pipecat's base image, which runs one session at a time: from
        the platform's `POST /bot`, or the client's WebSocket to `/ws`, until that is
        over. `app.add_middleware(SessionGuard.for_pipecat)`, in `bot.py`, with the
        `app` of `pipecatcloud_system`."""
        return cls(app, begins_with=("/bot", "/ws"))

    def __call__(self, *arguments: Any) -> Any:
        """As ASGI calls an application, or as WSGI does."""
        return self._asgi(*arguments) if len(arguments) == 3 else self._wsgi(*arguments)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = [
            value.decode("latin-1")
            for name, value in scope["headers"]
            if name.lower() == self._name
        ]
        path, root = scope["path"], scope.get("root_path", "")
        if root and path.startswith(root + "/"):
            path = path[len(root) :]
        refused, begun = self._judged(asked, path)
        if refused is not None:
            await _refuse(scope, send, refused)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if begun is not None:
                self._begun.remove(begun)

    def _wsgi(self, environ: Any, start_response: Any) -> Any:
        # Several fields come joined by commas, and so are no id.
        asked = [environ[self._variable]] if self._variable in environ else []
        refused, begun = self._judged(asked, environ.get("PATH_INFO", ""))
        if refused is not None:
            headers = [(n.decode(), v.decode("latin-1")) for n, v in _fields(refused)]
            start_response("421 Misdirected Request", headers)
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else _BODY]
        if begun is None:
            return self._app(environ, start_response)
        over = partial(self._begun.remove, begun)
        try:
            return _Lasting(self._app(environ, start_response), over)
        except BaseException:
            over()
            raise

    def _judged(self, asked: list[str], path: str) -> tuple[str | None, str | None]:
        """The id that is to be refused, if one is; and the one that begins here, for
        the caller to take out of `_begun` when its request is over."""
        ids = [canonical(each) for each in asked]
        if not ids:
            return None, None
        several = len(ids) > 1 or "," in ids[0]
        if several or path not in self._begins_with:
            here = self._here()
            return next((each for each in ids if each not in here), None), None
        [id] = ids
        self._begun.append(id)  # First, so that of two at once both see the other.
        if self._here() == {id}:
            return None, id
        self._begun.remove(id)
        return id, None

    def _here(self) -> set[str]:
        """The sessions that run here now."""
        told = self.session_id
        return {*self._begun, *_ids(told() if callable(told) else told)}


class _AsyncGuard(SessionGuard):
    """The same, around an ASGI application."""

    # uvicorn takes what it can call without arguments for a factory.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI calls an application."""
        await self._asgi(scope, receive, send)


class _Lasting:
    """The body of a WSGI response, and what is to be done when it is over."""

    def __init__(self, body: Iterable[bytes], over: Callable[[], None]) -> None:
        self._body = body
        self._over = over

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Called by the server, once (PEP 3333)."""
        try:
            getattr(self._body, "close", _nothing)()
        finally:
            self._over()


def _nothing() -> None:
    return


def _is_async(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
        getattr(app, "__call__", None)  # noqa: B004 - It is looked at, not called.
    )


def _ids(told: Any) -> set[str]:
    if told is None:
        return set()
    found = [told] if isinstance(told, str) else told
    if not isinstance(found, Collection) or not all(isinstance(i, str) for i in found):
        raise TypeError(
            "session_id must be a text, a collection of them, None, or a callable "
            f"that says one of these, not {told!r}"
        )
    return {canonical(each) for each in found}


def _fields(refused: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(_BODY)),
        (b"cache-control", b"no-store"),
        (REFUSED, refused.encode("latin-1")),
    ]


async def _refuse(scope: Any, send: Any, refused: str) -> None:
    prefix = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        prefix = "websocket."
    head = {"status": MISDIRECTED, "headers": _fields(refused)}
    await send({"type": f"{prefix}http.response.start", **head})
    await send({"type": f"{prefix}http.response.body", "body": _BODY})
