"""The admin API behind a real server of either kind, in this process."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
from jsonschema import Draft202012Validator
from werkzeug.serving import WSGIRequestHandler, make_server

from session_proxy_middleware.admin import asgi, wsgi
from session_proxy_middleware.admin.openapi import OPERATIONS, description
from session_proxy_middleware.admin.routing import Routes

from ..support.wire import PATIENCE

Kind = Literal["asgi", "wsgi"]

KEY = "adm_0123456789abcdef0123456789abcdef"
UPSTREAM = "http://10.0.3.7:8080"
ADMIN_API: Mapping[str, type[asgi.AdminAPI] | type[wsgi.AdminAPI]] = {
    "asgi": asgi.AdminAPI,
    "wsgi": wsgi.AdminAPI,
}
DESCRIBED = description()
ROUTES = Routes(OPERATIONS)


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str, str, str]:
        """Status, code, slug and sentence of an error."""
        slug = self.headers["x-session-proxy-error"]
        return self.status, self.json["code"], slug, self.json["error"]


class Caller:
    """Calls an application that is served, and compares each answer with what the
    description of the API says of it."""

    def __init__(self, port: int, mount: str = "") -> None:
        self.port = port
        self.mount = mount

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = KEY,
    ) -> Answer:
        """`body`: bytes as they are, and anything else as JSON."""
        sent = {} if key is None else {"Authorization": f"Bearer {key}"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE)
        try:
            connection.request(
                method, self.mount + path, body, {**sent, **(headers or {})}
            )
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, fields, response.read())
        finally:
            connection.close()
        check(answer, method, path.partition("?")[0])
        return answer


def check(answer: Answer, method: str, path: str) -> None:
    """What holds for every answer, and what the description says of this one."""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert ("x-session-proxy-error" in answer.headers) == (answer.status >= 400)
    if answer.status == 204:
        assert answer.body == b"" and "content-type" not in answer.headers
        return
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if method == "HEAD":
        return
    schema: Any = {"$ref": "#/components/schemas/Error"}
    if answer.status < 400:
        operation, _ = ROUTES.match(path, method)
        responses = DESCRIBED["paths"][operation.path][method.lower()]["responses"]
        content = responses[str(answer.status)]["content"]
        schema = content["application/json"]["schema"]
    whole = {**schema, "components": DESCRIBED["components"]}
    Draft202012Validator(whole).validate(answer.json)


class Changing:
    """An application that is another one for each test, so that a server serves many.

    uvicorn looks whether `__call__` is a coroutine function.
    """

    app: Any = None


class ChangingASGI(Changing):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class ChangingWSGI(Changing):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """No access log."""


@contextmanager
def serving(kind: Kind, app: Any, *, lifespan: Any = "off") -> Iterator[int]:
    """The port on which the application is served: by uvicorn, or werkzeug's server."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    stop: Callable[[], object]
    if kind == "asgi":
        config = uvicorn.Config(
            app, ws="none", lifespan=lifespan, log_level="warning", access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))

        def stop() -> None:
            server.should_exit = True
    else:
        other = make_server(
            "127.0.0.1",
            port,
            app,
            threaded=True,
            fd=listener.fileno(),
            request_handler=Quiet,
        )
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        stop = other.shutdown
    thread.start()
    try:
        yield port
    finally:
        stop()
        thread.join()
        if kind == "wsgi":
            other.server_close()
        listener.close()
