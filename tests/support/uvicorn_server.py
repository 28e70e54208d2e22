"""The portal under uvicorn, on a listening socket that is inherited.

`python -m tests.support.uvicorn_server DESCRIPTOR LOOP GRACE`. uvicorn's own `--fd`
takes the socket for a Unix one, so its connections run without TCP_NODELAY.
"""

from __future__ import annotations

import socket
import sys

import uvicorn


def main(descriptor: str, loop: str, grace: str) -> None:
    """Serve until a signal ends it."""
    config = uvicorn.Config(
        "tests.support.portal:asgi",
        factory=True,
        http="httptools",
        loop=loop,
        proxy_headers=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=int(grace),
    )
    uvicorn.Server(config).run([socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main(*sys.argv[1:])
