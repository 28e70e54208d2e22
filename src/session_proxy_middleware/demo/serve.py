"""A child of the demo: one ASGI application under uvicorn, on the socket handed in.

`python -m session_proxy_middleware.demo.serve APPLICATION DESCRIPTOR [NAME]`; the
NAME goes out with every response.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import uvicorn

from . import lifeline
from .settings import ANSWERED_BY


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM, or until the parent has ended."""
    application, descriptor, *names = arguments
    lifeline.watch(lambda: os.kill(os.getpid(), signal.SIGTERM))
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        headers=[(ANSWERED_BY, name) for name in names],
        timeout_graceful_shutdown=1,
    )
    with socket.socket(fileno=int(descriptor)) as listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
