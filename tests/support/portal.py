"""The application that every server runs: many proxies around one host application.

It is started in a process of its own (tests/support/serving.py), so tests talk to it
through the host application's own path `/_control`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import httpx

from session_proxy_middleware import (
    CORS,
    Caching,
    Forbidden,
    Limits,
    MemoryStore,
    Principal,
    Request,
    SessionProxy,
    StoreUnavailable,
    Timeouts,
    Unauthenticated,
    WebSockets,
)
from session_proxy_middleware.asgi import SessionProxyMiddleware as ASGIMiddleware
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware

from . import outer
from .recorded import Calls, RecordedStore, Records, key_id, put_key

CONTROL = "/_control"
KEY = "pk_test"
QUICK = Timeouts(connect=0.3, response=0.5, idle=0.6)
PATIENT = Timeouts(connect=2.0, response=8.0, idle=8.0)

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
WSGIApp = Callable[[Any, Any], Iterable[bytes]]


USERS = [Principal(id="ada")]


def authenticate(request: Request) -> Principal:
    """A host's own authenticator, told by a header what to do."""
    caller = request.header("X-Caller")
    if caller is None:
        raise Unauthenticated("no caller")
    if caller == "forbidden":
        raise Forbidden("not this one")
    if caller == "down":
        raise TimeoutError("10.9.8.7 secret detail")
    if caller == "unavailable":
        raise StoreUnavailable("10.9.8.7 secret detail")
    if caller == "bug":
        raise RuntimeError("secret detail of a bug")
    if caller == "nobody":
        return next(user for user in USERS if user.id == caller)
    if caller == "nonsense":
        return "root"  # type: ignore[return-value]
    return Principal(id=caller, services=("*",))


def by_cookie(request: Request) -> Principal:
    """A host that goes by its login cookie, or by a token of its own."""
    cookies = request.header("cookie") or ""
    if "login=ada" not in cookies and request.header("authorization") != "Bearer own":
        raise Unauthenticated
    return Principal(id="ada")


async def authenticate_async(request: Request) -> Principal:
    """The same, with an await inside."""
    await asyncio.sleep(0)
    return authenticate(request)


def proxies(store: MemoryStore, calls: Calls, *, asgi: bool) -> dict[str, SessionProxy]:
    """Every configuration that a test wants, by its first path segment."""
    recorded = RecordedStore(store, calls)

    def proxy(prefix: str, *, plain: bool = False, **options: Any) -> SessionProxy:
        options.setdefault("timeouts", PATIENT)
        # What the stores are asked is what tests look at.
        options.setdefault("caching", Caching(found=0, absent=0, keys=0))
        return SessionProxy(store if plain else recorded, prefix=prefix, **options)

    def httpx_transport() -> httpx.AsyncHTTPTransport | httpx.HTTPTransport:
        limits = httpx.Limits(max_connections=None)
        if asgi:
            return httpx.AsyncHTTPTransport(limits=limits)
        return httpx.HTTPTransport(limits=limits)

    made = {
        "": proxy(""),
        "v1": proxy("/v1/public", plain=True),
        "quick": proxy("/quick", timeouts=QUICK),
        "quick-eaten": proxy("/quick-eaten", timeouts=QUICK),
        "brief": proxy("/brief", timeouts=Timeouts(connect=0.3, total=0.6)),
        "few": proxy("/few", limits=Limits(per_session=2)),
        "perkey": proxy("/perkey", limits=Limits(per_session=None, per_key=1)),
        "full": proxy("/full", limits=Limits(total=1)),
        "small": proxy(
            "/small",
            limits=Limits(body=100_000, header_fields=50, header_bytes=9000),
            websockets=WebSockets(max_message=100_000),
        ),
        "pinging": proxy("/pinging", websockets=WebSockets(ping_interval=0.3)),
        "packed": proxy("/packed", websockets=WebSockets(compression=True)),
        "login": proxy(
            "/login",
            authenticate=by_cookie,
            websockets=WebSockets(allowed_origins=["https://friend.example"]),
        ),
        "strict": proxy("/strict", timeouts=QUICK, contract="strict"),
        "append": proxy("/append", forwarded="append"),
        "off": proxy("/off", forwarded="off"),
        "sync": proxy("/sync", authenticate=authenticate),
        "async": proxy("/async", authenticate=authenticate_async),
        "named": proxy(
            "/named",
            session_id_pattern="[a-z]+-[0-9]+",
            session_id_header="X-Which-Session",
            reserved_paths=("/inner/start", "/y"),
        ),
        "nets": proxy("/nets", allowed_networks=["0.0.0.0/8"]),
        "httpx-nets": proxy(
            "/httpx-nets",
            transport=httpx_transport(),
            allowed_networks=["127.0.0.0/8"],
        ),
        "drained": proxy("/drained"),
        "ending": proxy("/ending", drain=1.0),
        "gentle": proxy("/gentle", drain=1.0),
        "waiting": proxy("/waiting", plain=True, ready_wait=8, ready_path="/readyz"),
        "brisk": proxy("/brisk", plain=True, ready_wait=0.5),
        "wide": proxy(
            "/wide",
            plain=True,
            limits=Limits(per_session=None, total=None),
            cookies="forward",
        ),
        "many": proxy("/many", limits=Limits(per_session=None), timeouts=Timeouts()),
        "open": proxy("/open", cookies="forward", isolation="off"),
        "nocookies": proxy("/nocookies", cookies="drop"),
        "cors": proxy("/cors", cors=CORS(allow_origins=["https://app.example"])),
        "httpx": proxy(
            "/httpx", transport=httpx_transport(), limits=Limits(per_session=None)
        ),
        "httpx-open": proxy(
            "/httpx-open",
            transport=httpx_transport(),
            limits=Limits(per_session=None),
            cookies="forward",
            isolation="off",
        ),
        "httpx-idle": proxy(
            "/httpx-idle",
            transport=httpx_transport(),
            timeouts=Timeouts(connect=2.0, response=8.0, idle=QUICK.idle),
            limits=Limits(per_session=None),
        ),
        "httpx-quick": proxy(
            "/httpx-quick",
            transport=httpx_transport(),
            timeouts=QUICK,
            limits=Limits(per_session=None),
        ),
    }
    made["drained"].drain()
    return made


class Control:
    """What tests ask of the process: `{"do": name, …}` in, a JSON value out."""

    def __init__(self, *, asgi: bool) -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        self.records = Records()
        logging.getLogger("session_proxy.access").addHandler(self.records)
        self.store = MemoryStore()
        self.calls = Calls()
        self.proxies = proxies(self.store, self.calls, asgi=asgi)
        self.hosted: list[str] = []
        create = partial(put_key, self.store)
        create(secret=KEY)
        create(secret="pk_second")
        create(secret="pk_other", services=["other", "other-*"])
        create(secret="pk_get", methods=["GET"], paths=["/status", "/bot"])
        create(secret="pk_socket", methods=["WEBSOCKET"], paths=["/ws"])
        create(secret="pk_expired", expires_at=1.0)
        create(secret="pk_future", not_before=4e9)
        self.store.keys.revoke(create(secret="pk_revoked").id)
        self.store.services.put("unready", ready=False)

    def handle(self, body: bytes) -> bytes:
        """Do it."""
        asked = json.loads(body)
        return json.dumps(getattr(self, asked.pop("do"))(**asked)).encode()

    def register(self, service: str, id: str, upstream: str, **options: Any) -> str:
        return self.store.sessions.register(service, id, upstream, **options).id

    def started(self) -> None:
        """The server's handlers are set, and this is the main thread."""
        self.proxies["ending"].drain_at(signal.SIGTERM)

    def drain(self, name: str) -> None:
        self.proxies[name].drain()

    def resume(self, name: str) -> None:
        self.proxies[name].resume()

    def end(self, service: str, id: str) -> bool:
        return self.store.sessions.end(service, id)

    def ready(self, service: str, id: str) -> bool:
        return self.store.sessions.ready(service, id)

    def drain_session(self, service: str, id: str) -> bool:
        return self.store.sessions.drain(service, id)

    def put_service(self, name: str, *, ready: bool) -> None:
        self.store.services.put(name, ready=ready)

    def create_key(self, secret: str) -> None:
        put_key(self.store, secret=secret)

    def revoke_key(self, secret: str) -> bool:
        return self.store.keys.revoke(key_id(secret))

    def listed(self, service: str) -> list[dict[str, Any]]:
        """The sessions of a service, as far as tests look at them."""
        return [
            {"id": each.id, "state": each.state, "active_at": each.active_at}
            for each in self.store.sessions.list(service=service)
        ]

    def flush(self, via: str) -> None:
        """Write down the activity that was noted: in time it would be anyway."""
        activity = self.proxies[via].activity
        assert activity is not None
        activity.flush()

    def used(self, secret: str) -> float | None:
        key = self.store.keys.find(key_id(secret))
        return None if key is None else key.used_at

    def asked(self) -> list[str]:
        """What the stores were asked since the last time."""
        made, self.calls.made = self.calls.made, []
        return made

    def recorded(self, id: str) -> list[dict[str, Any]]:
        """The access records of a session; of all for an empty id."""
        return [each for each in self.records.kept if id in (each["session_id"], "")]

    def state(self, *, collect: bool = False) -> dict[str, Any]:
        if collect:  # What hangs in a cycle is garbage, and no leak.
            gc.collect()
        try:
            tasks = len(asyncio.all_tasks())
        except RuntimeError:
            tasks = 0
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
        return {
            "in_flight": {
                name: proxy.limiter.in_flight for name, proxy in self.proxies.items()
            },
            "tasks": tasks,
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        }


RUNNING: list[Control] = []
"""That of this process, for hooks of the server."""


def mounted(scope: Any, at: str, *, stripped: bool) -> dict[str, Any]:
    """What an application sees that is mounted there: the path whole, as Starlette's
    Mount and uvicorn leave it (since 0.33 and 0.26), or, as before, without."""
    root = scope.get("root_path", "") + at
    if not stripped:
        return {**scope, "root_path": root}
    raw = scope["raw_path"]
    path = scope["path"].removeprefix(at)
    return {
        **scope,
        "root_path": root,
        "path": path,
        "raw_path": raw.removeprefix(at.encode()),
    }


def asgi() -> ASGIApp:
    """The portal as an ASGI application."""
    control = Control(asgi=True)

    async def host(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    control.started()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"].removeprefix(scope.get("root_path", "")) == CONTROL:
            answer = control.handle(body)
        else:
            answer = b"host application: " + scope["path"].encode()
        headers = [(b"content-length", b"%d" % len(answer)), (b"x-host", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    made: dict[str, ASGIApp] = {
        name: ASGIMiddleware(host, proxy) for name, proxy in control.proxies.items()
    }
    made["quick-eaten"] = outer.reading_asgi(made["quick-eaten"])

    async def portal(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await made[""](scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        first = path.split("/", 2)[1] if "/" in path else ""
        if first.startswith("mounted"):
            scope = mounted(scope, "/" + first, stripped=first.endswith("-old"))
        await made.get(first, made[""])(scope, receive, send)

    return portal


def wsgi() -> WSGIApp:
    """The portal as a WSGI application."""
    control = Control(asgi=False)
    RUNNING.append(control)

    def host(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL:
            # No more than there is: not every server ends the input for us.
            length = int(environ.get("CONTENT_LENGTH") or 0)
            answer = control.handle(environ["wsgi.input"].read(length))
        else:
            path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
            answer = b"host application: " + path.encode("latin-1")
        headers = [("Content-Length", str(len(answer))), ("X-Host", "1")]
        start_response("200 OK", headers)
        return [answer]

    made: dict[str, WSGIApp] = {
        name: WSGIMiddleware(host, proxy) for name, proxy in control.proxies.items()
    }
    made["quick-eaten"] = outer.reading_wsgi(made["quick-eaten"])

    def portal(environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        first = path.split("/", 2)[1] if "/" in path else ""
        if first.startswith("mounted"):  # As werkzeug's DispatcherMiddleware does it.
            environ["SCRIPT_NAME"] += f"/{first}"
            environ["PATH_INFO"] = path[len(first) + 1 :]
        return made.get(first, made[""])(environ, start_response)

    return portal
