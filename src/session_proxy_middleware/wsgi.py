"""The WSGI driver: performs what the flow asks, without await, and streams."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from errno import ECONNRESET, EPIPE
from http import HTTPStatus
from time import perf_counter
from typing import Any

from . import lookups, mounts
from .errors import (
    ClientDisconnected,
    ConfigError,
    ProxyError,
    ResponseTruncated,
)
from .exchange import Authenticate, Flow, RoundTrip, Step, exchange
from .fence import Disown
from .hooks import as_sync
from .interfaces import Response
from .models import Ending, Headers, Reply, Request, Route
from .opening import AwaitReady
from .patrol import Patrol
from .probing import Prober
from .proxy import SessionProxy
from .upstream.blocking import HTTP11Transport
from .workers import Lonely
from .wsgi_client import Client

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_STATUS_LINES = {each.value: f"{each.value} {each.phrase}" for each in HTTPStatus}


class SessionProxyMiddleware:
    """Wraps a WSGI application: requests to sessions are proxied, everything else
    reaches the application as the very same objects. Mount it outermost.

    Raises:
        ConfigError: `app` is no application, `proxy` is no `SessionProxy`, or its
            transport is not sync.
    """

    def __init__(self, app: WSGIApp, proxy: SessionProxy) -> None:
        if not isinstance(proxy, SessionProxy):
            raise ConfigError(f"proxy must be a SessionProxy(...), not {proxy!r}")
        if not callable(app):
            raise ConfigError(f"app must be the application to wrap, not {app!r}")
        mounts.check_wrapped(app)
        self._app = app
        self._proxy = proxy
        self._match = proxy.match
        self._mark = proxy.match.MARK
        self._reach = proxy.match.REACH
        self._transport = proxy.blocking_transport()
        self._ask = lookups.blocking(proxy)
        if proxy.ready_wait:
            prober = Prober(proxy)
            self._ask[AwaitReady] = lambda step: prober.wait(step.session)
        end = getattr(self._transport, "end", lookups.nothing)
        self._closer = lookups.Closer(proxy, self._transport, end)
        if isinstance(self._transport, HTTP11Transport):
            Patrol(self._transport, lookups.ended(proxy), every=proxy.patrol)
        self._ask[Disown] = self._disown
        self._lonely = Lonely(proxy.store)
        if proxy.authenticate is not None:
            authenticate = as_sync(proxy.authenticate)
            self._ask[Authenticate] = lambda step: authenticate(step.request)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        # A server that leaves PATH_INFO out means "" (PEP 3333).
        info = environ.get("PATH_INFO", "")
        at = info.find(self._mark)
        if at >= 0 and info.find("/", at + self._reach) >= 0:
            path, raw_path, query = _target(environ)
            route = self._match(path, raw_path, environ.get("SCRIPT_NAME", ""))
            if route is not None:
                return self._serve(_request(environ, route, query), start_response)
        return self._app(environ, start_response)

    def _disown(self, step: Disown) -> None:
        step.response.close()
        self._closer.forget(step.session)

    def _serve(
        self, request: Request, start_response: StartResponse
    ) -> Iterable[bytes]:
        started = perf_counter()
        if self._lonely.unsaid:
            self._lonely.look(request.context)
        flow = exchange(request, self._proxy)
        client = Client(request.context, self._proxy.activity)
        response: Response | None = None
        try:
            step: Step = next(flow)
            while type(step) is not Reply:
                try:
                    if type(step) is RoundTrip:
                        client.begin(step, self._proxy.timeouts.idle)
                        answer = response = self._transport.send(
                            step.outbound,
                            client if step.outbound.has_body else None,
                            client.departure,
                        )
                    else:
                        answer = self._ask[type(step)](step)
                except ClientDisconnected as gone:
                    gone.ending = client.departed(perf_counter() - started)
                    step = flow.throw(gone)
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
        except StopIteration:
            # The client is gone. The server wants an answer all the same.
            client.close()
            start_response("499 Client Closed Request", [("Content-Length", "0")])
            return []
        except BaseException:
            flow.close()
            client.close()
            raise
        stream = Stream(step, response, client, flow, started)
        waits = False
        if response is not None and not response.complete:
            client.guard(self._proxy.timeouts.idle)
            waits = not response.pieces
        status = status_line(step.status)
        try:
            write = start_response(status, native(step.headers))
            if waits and write is not None:
                # PEP 3333: servers hold the head back until there is a byte of the
                # body; written, the client has it now.
                write(b"")
        except BaseException:
            stream.close()
            raise
        return stream


class Stream(Iterator[bytes]):
    """The body of a reply. Whatever happens, `close` settles it once."""

    def __init__(
        self,
        reply: Reply,
        response: Response | None,
        client: Client,
        flow: Flow,
        started: float,
    ) -> None:
        self._whole = reply.body
        self._response = response
        self._client = client
        self._flow = flow
        self._started = started
        self._headers_after = perf_counter() - started
        self._sent = 0
        self._begun = False
        self._done = False
        self._closed = False
        self._reason = "client_disconnected"

    def __next__(self) -> bytes:
        if self._done:
            # Not left to the server: werkzeug's fails, before it calls `close`, when
            # it reads what a stalled client did not send.
            self.close()
            raise StopIteration
        if self._whole is not None or self._response is None:
            data = self._whole or b""
            self._complete()
        elif not (self._begun or self._response.complete or self._response.pieces):
            # Some servers send the head with the first piece, even an empty one:
            # the client then has it before the session's first byte.
            self._begun = True
            return b""
        else:
            self._begun = True
            try:
                data = self._response.read()
                self._client.flowed()
            except ResponseTruncated as truncated:
                # Raised, so that the server breaks the connection off and the
                # truncation shows; as what servers take for the network's doing.
                self._reason = truncated.reason
                raise ConnectionResetError(ECONNRESET, str(truncated)) from truncated
            except ClientDisconnected as gone:
                raise BrokenPipeError(EPIPE, str(gone)) from gone
            except ProxyError as error:
                self._reason = error.slug
                raise ConnectionResetError(ECONNRESET, str(error)) from error
            if self._response.complete and not self._response.pieces:
                self._complete()
        self._sent += len(data)
        if not data:
            self.close()
            raise StopIteration
        return data

    def _complete(self) -> None:
        self._done = True
        self._reason = "completed"

    def close(self) -> None:
        """Called by the server when it is done with the body, or gives it up."""
        if self._closed:
            return
        self._closed = True
        ending = Ending(
            self._reason,
            self._client.received,
            self._sent,
            self._headers_after,
            perf_counter() - self._started,
        )
        with contextlib.suppress(StopIteration):
            self._flow.send(ending)
        if self._response is not None and not self._response.complete:
            self._response.close()
        self._client.close()


def _request(environ: Environ, route: Route, query: bytes | None) -> Request:
    return Request(
        environ["REQUEST_METHOD"],
        route,
        query,
        _headers(environ),
        environ.get("REMOTE_ADDR") or None,
        environ.get("wsgi.url_scheme", "http"),
        environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2] or "1.1",
        environ,
    )


def _target(environ: Environ) -> tuple[str, bytes | None, bytes | None]:
    """Decoded path with SCRIPT_NAME, the path as sent where the server tells it, and
    the query."""
    script = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = script.encode("latin-1").decode("utf-8", "surrogateescape")
    uri: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw, mark, _ = uri.partition("?")
    query: str = environ.get("QUERY_STRING", "")
    return (
        path,
        raw.encode("latin-1") if raw else None,
        query.encode("latin-1") if query or mark else None,
    )


def _headers(environ: Environ) -> Headers:
    """The fields as the environ has them: equal ones joined by the server."""
    headers: Headers = []
    for variable, field in (
        ("CONTENT_TYPE", b"content-type"),
        ("CONTENT_LENGTH", b"content-length"),
    ):
        if value := environ.get(variable):
            headers.append((field, value.encode("latin-1")))
    variables = tuple(environ)
    layout = _LAYOUTS.get(variables) or _laid_out(variables)
    headers += [(name, environ[key].encode("latin-1")) for key, name in layout]
    return headers


def _laid_out(variables: tuple[str, ...]) -> Layout:
    """Which of an environ's variables are header fields, and of what name. Clients
    send the same names again and again; so many are remembered."""
    layout = [
        (key, key[5:].replace("_", "-").lower().encode("latin-1"))
        for key in variables
        if key.startswith("HTTP_") and key not in _TWICE
    ]
    if sum(map(len, variables)) <= _REMEMBERED_LENGTH:
        if len(_LAYOUTS) >= _REMEMBERED:
            _LAYOUTS.clear()
        _LAYOUTS[variables] = layout
    return layout


Layout = list[tuple[str, bytes]]
_LAYOUTS: dict[tuple[str, ...], Layout] = {}
_REMEMBERED = 256
_REMEMBERED_LENGTH = 4096
# Some servers give these a second time, under the name of a header.
_TWICE = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


def status_line(status: int) -> str:
    """The status as `start_response` takes it."""
    return _STATUS_LINES.get(status) or f"{status} Unknown"


def native(headers: Headers) -> list[tuple[str, str]]:
    """Header fields as `start_response` takes them."""
    return [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers
    ]
