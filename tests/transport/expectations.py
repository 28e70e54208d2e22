"""Where transports may differ, and why. What is not in here, all of them promise."""

from __future__ import annotations

from dataclasses import dataclass

from session_proxy_middleware.errors import (
    ProxyError,
    RequestTimeout,
    UpstreamProtocolError,
    UpstreamUnreachable,
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The named expectations of one transport.

    - `reuses`: connections are used again. httpcore keeps bytes that nobody asked
      for and knows no session epochs, so over httpx each request has its own.
    - `answers_early`: an answer is passed on while the client pauses in its upload.
      Reading a WSGI server's input blocks, so the blocking kinds look for an answer
      between two pieces; and httpcore sends the upload whole before it reads, unless
      the session hangs up.
    - `watches_client`: a client that leaves interrupts the wait for the session.
      httpx's blocking transports take no second descriptor to watch.
    - `stalled_client`: what is raised when the client stops in its upload. Reading
      a WSGI server's input blocks, and only that server's own timeout ends it.
    - `bounds_total`: `Timeouts(total=...)` ends a request. httpx's blocking
      transports know only times between bytes.
    - `bounds_head`: a session that keeps sending, but never the end of its head, is
      given up in time. The same reason.
    - `broken_head`: what is raised for a head that ends half-way. httpcore tells
      it in the words it has for no answer at all.
    - `sees_cut_tls`: tells a TLS connection that was closed from one that was cut.
      What httpx's transports stand on hides the difference.
    - `unix`: reaches `unix://` sessions. An httpx transport is bound to one socket
      when it is made, not when it is called.
    """

    reuses: bool = True
    answers_early: bool = True
    watches_client: bool = True
    stalled_client: type[ProxyError] | None = RequestTimeout
    bounds_total: bool = True
    bounds_head: bool = True
    broken_head: type[ProxyError] = UpstreamProtocolError
    sees_cut_tls: bool = True
    unix: bool = True


_ASYNC_HTTPX = Expected(
    reuses=False,
    answers_early=False,
    broken_head=UpstreamUnreachable,
    sees_cut_tls=False,
    unix=False,
)
_HTTPX = Expected(
    reuses=False,
    answers_early=False,
    watches_client=False,
    stalled_client=None,
    bounds_total=False,
    bounds_head=False,
    broken_head=UpstreamUnreachable,
    sees_cut_tls=False,
    unix=False,
)

EXPECTED = {
    "aio": Expected(),
    "aio-uvloop": Expected(),
    "blocking": Expected(answers_early=False, stalled_client=None),
    "async-httpx": _ASYNC_HTTPX,
    "async-httpx2": _ASYNC_HTTPX,
    "httpx": _HTTPX,
    "httpx2": _HTTPX,
}
