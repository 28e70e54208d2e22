"""The portal under each server people run, on a listening socket that is inherited.

`python -m tests.support.serving NAME DESCRIPTOR [--root /path] [--trust]
[--grace SECONDS]`. What a
server would refuse by itself (long targets, large heads) is to reach the middleware
where an option says so; everything else is as it comes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable

ASGI, WSGI = "tests.support.portal:asgi", "tests.support.portal:wsgi"
THREADS = 160
"""Requests at once, of a server that has a thread for each."""
LARGE = 1 << 20
KEEP_ALIVE = 5


def uvicorn(listener: socket.socket, options: argparse.Namespace, http: str) -> None:
    """uvicorn's own `--fd` takes the socket for a Unix one, so that its connections
    run without TCP_NODELAY."""
    import uvicorn

    config = uvicorn.Config(
        ASGI,
        factory=True,
        http=http,
        loop=os.environ.get("PORTAL_LOOP", "asyncio"),
        ws=os.environ.get("PORTAL_WEBSOCKETS", "auto"),
        root_path=options.root,
        proxy_headers=options.trust,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=options.grace,
        h11_max_incomplete_event_size=LARGE,
    )
    uvicorn.Server(config).run([listener])


def httptools(listener: socket.socket, options: argparse.Namespace) -> None:
    """uvicorn as installed with `uvicorn[standard]`."""
    uvicorn(listener, options, "httptools")


def h11(listener: socket.socket, options: argparse.Namespace) -> None:
    """uvicorn as installed alone."""
    uvicorn(listener, options, "h11")


def hypercorn(listener: socket.socket, options: argparse.Namespace) -> None:
    """On asyncio, in one process."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from .portal import asgi

    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.root_path = options.root
    config.h11_max_incomplete_size = LARGE
    config.keep_alive_timeout = KEEP_ALIVE
    config.graceful_timeout = options.grace
    config.loglevel = "WARNING"
    asyncio.run(serve(asgi(), config))


def granian(listener: socket.socket, options: argparse.Namespace) -> None:
    """It takes no socket, so it binds the address anew."""
    from granian.constants import Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    host, port = listener.getsockname()
    listener.close()
    Server(
        ASGI,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        factory=True,
        loop=Loops.asyncio,
        backlog=2048,
        backpressure=2048,
        http1_settings=HTTP1Settings(max_buffer_size=LARGE),
        url_path_prefix=options.root or None,
        workers_kill_timeout=options.grace + 1,
        log_level=LogLevels.warning,
    ).serve()


def daphne(listener: socket.socket, options: argparse.Namespace) -> None:
    """On twisted's asyncio reactor."""
    from daphne.server import Server

    from .portal import asgi

    Server(
        asgi(),
        endpoints=[f"fd:fileno={listener.detach()}"],
        root_path=options.root,
        application_close_timeout=options.grace,
        verbosity=0,
    ).run()


def gunicorn(
    listener: socket.socket, options: argparse.Namespace, worker: str = "gthread"
) -> None:
    """By its command line, so that its master and worker are the usual ones."""
    listener.set_inheritable(True)
    threads = str(THREADS if worker == "gthread" else 1)
    command = [
        *(sys.executable, "-m", "gunicorn", f"{WSGI}()"),
        *("--bind", f"fd://{listener.fileno()}", "--worker-class", worker),
        *("--workers", "1", "--threads", threads, "--worker-connections", "4000"),
        *("--keep-alive", str(KEEP_ALIVE), "--graceful-timeout", str(options.grace)),
        *("--config", "python:tests.support.gunicorn_hooks"),
        *("--limit-request-line", "0", "--limit-request-fields", "32768"),
        *("--limit-request-field_size", "100000", "--header-map", "dangerous"),
        *("--no-control-socket", "--log-level", "warning"),
    ]
    if not options.trust:
        command += ["--forwarded-allow-ips", ""]
    if options.root:
        command += ["--env", f"SCRIPT_NAME={options.root}"]
    os.execv(sys.executable, command)  # noqa: S606 - There is no shell to want.


def gunicorn_sync(listener: socket.socket, options: argparse.Namespace) -> None:
    """gunicorn as it comes: one request at a time, no keep-alive."""
    gunicorn(listener, options, "sync")


def gunicorn_gevent(listener: socket.socket, options: argparse.Namespace) -> None:
    """gunicorn on gevent's loop, the standard library patched."""
    gunicorn(listener, options, "gevent")


def waitress(listener: socket.socket, options: argparse.Namespace) -> None:
    """A thread for each request, one loop for all sockets."""
    from waitress.server import create_server

    from .portal import wsgi

    create_server(
        wsgi(),
        sockets=[listener],
        threads=THREADS,
        connection_limit=4000,
        asyncore_use_poll=True,
        url_prefix=options.root,
        max_request_header_size=LARGE,
        channel_request_lookahead=1,  # Else it never sees a client leave.
    ).run()


def cheroot(listener: socket.socket, options: argparse.Namespace) -> None:
    """It takes the socket as systemd hands it over, as descriptor 3, and leaves one
    like that as it is: without this each answer would wait 40 ms for the client's
    acknowledgement of its head."""
    from cheroot.wsgi import Server

    from .portal import wsgi

    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    os.dup2(listener.fileno(), 3)
    os.environ["LISTEN_PID"] = str(os.getpid())
    server = Server(
        listener.getsockname(), wsgi(), numthreads=THREADS, request_queue_size=2048
    )
    server.keep_alive_conn_limit = 4000
    server.safe_start()


def werkzeug(listener: socket.socket, options: argparse.Namespace) -> None:
    """The development server, with threads, as `flask run` starts it."""
    from werkzeug.serving import make_server

    from .portal import wsgi

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # Its access log.
    host, port = listener.getsockname()
    make_server(host, port, wsgi(), threaded=True, fd=listener.fileno()).serve_forever()


RUN: dict[str, Callable[[socket.socket, argparse.Namespace], None]] = {
    "uvicorn": httptools,
    "uvicorn-h11": h11,
    "hypercorn": hypercorn,
    "granian": granian,
    "daphne": daphne,
    "gunicorn": gunicorn,
    "gunicorn-sync": gunicorn_sync,
    "gunicorn-gevent": gunicorn_gevent,
    "waitress": waitress,
    "cheroot": cheroot,
    "werkzeug": werkzeug,
}


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=RUN)
    parser.add_argument("descriptor", type=int)
    parser.add_argument("--root", default="")
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--grace", type=int, default=1)
    options = parser.parse_args()
    RUN[options.name](socket.socket(fileno=options.descriptor), options)


if __name__ == "__main__":
    main()
