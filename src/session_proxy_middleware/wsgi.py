"""The WSGI driver: performs what the flow asks, without await, and streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from errno import ECONNRESET, EPIPE
from http import HTTPStatus
from time import perf_counter
from typing import Any

from . import lookups, mounts, wsgi_environ
from .errors import (
    ClientDisconnected,
    ConfigError,
    ProxyError,
    ResponseTruncated,
)
from .exchange import Authenticate, RoundTrip, Step, exchange
from .fence import Disown
from .hooks import as_sync
from .interfaces import Response
from .models import Ending, Headers, Reply, Request
from .opening import AwaitReady
from .patrol import Patrol
from .probing import Prober
from .proxy import SessionProxy
from .upstream.blocking import HTTP11Transport
from .workers import Lonely
from .wsgi_client import Client

Environ = wsgi_environ.Environ
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_GONE = "client_disconnected"
_COMPLETED = "completed"
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
            request = wsgi_environ.request(environ, self._match)
            if request is not None:
                body = self._serve(request, start_response)
                next(body)
                return body
        return self._app(environ, start_response)

    def _disown(self, step: Disown) -> None:
        step.response.close()
        self._closer.forget(step.session)

    def _serve(
        self, request: Request, start_response: StartResponse
    ) -> Iterator[bytes]:
        """The body of the reply, behind an empty piece that comes when the head is
        out. Whether the server takes all of it, closes it or drops it, what this ends
        with settles it."""
        started = perf_counter()
        if self._lonely.unsaid:
            self._lonely.look(request.context)
        flow = exchange(request, self._proxy)
        client = Client(request.context, self._proxy.activity)
        response: Response | None = None
        ending: Ending | None = None
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
            # Until there is a better reason.
            ending = Ending(_GONE, 0, 0, perf_counter() - started, 0.0)
            reply = step
            status = status_line(step.status)
            headers = native(step.headers)
            data = step.body
            if data is None and response is not None:
                if not response.complete:
                    client.guard(self._proxy.timeouts.idle)
                    write = start_response(status, headers)
                    yield from _streamed(write, response, client, ending)
                    return
                data = b"".join(response.pieces)
            start_response(status, headers)
            yield b""
            ending.reason = _COMPLETED
            if data:
                client.guard(self._proxy.timeouts.idle)
                ending.bytes_sent = len(data)
                yield data
        except StopIteration:
            # The client is gone. The server wants an answer all the same.
            start_response("499 Client Closed Request", [("Content-Length", "0")])
            yield b""
        finally:
            if response is not None and not response.complete:
                response.close()
            client.close()
            if ending is None:
                flow.close()
            else:
                ending.bytes_received = client.received
                ending.total = perf_counter() - started
                reply.ending = ending
                next(flow, None)


def _streamed(
    write: Callable[[bytes], Any] | None,
    response: Response,
    client: Client,
    ending: Ending,
) -> Iterator[bytes]:
    """The body as it comes, behind the empty piece that `_serve` begins with."""
    waits = not response.pieces
    if waits and write is not None:
        # PEP 3333: servers hold the head back until there is a byte of the body;
        # written, the client has it now.
        write(b"")
    yield b""
    if waits:
        # Some servers send the head with the first piece, even an empty one: the
        # client then has it before the session's first byte.
        yield b""
    while ending.reason is not _COMPLETED:
        try:
            data = response.read()
        except ResponseTruncated as truncated:
            # Raised, so that the server breaks the connection off and the truncation
            # shows; as what servers take for the network's doing.
            ending.reason = truncated.reason
            raise ConnectionResetError(ECONNRESET, str(truncated)) from truncated
        except ClientDisconnected as gone:
            raise BrokenPipeError(EPIPE, str(gone)) from gone
        except ProxyError as error:
            ending.reason = error.slug
            raise ConnectionResetError(ECONNRESET, str(error)) from error
        client.flowed()
        if response.complete and not response.pieces:
            ending.reason = _COMPLETED
        if data:
            ending.bytes_sent += len(data)
            yield data


def status_line(status: int) -> str:
    """The status as `start_response` takes it."""
    return _STATUS_LINES.get(status) or f"{status} Unknown"


def native(headers: Headers) -> list[tuple[str, str]]:
    """Header fields as `start_response` takes them."""
    return [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers
    ]
