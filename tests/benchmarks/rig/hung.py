"""A session that hangs, and the clients that wait for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from ..servers import wire
from .processes import Server, ServerError

PATIENCE_SECONDS: Final = 30.0


@contextmanager
def session(
    server: Server, *, index: int, upstream_port: int, clients: int
) -> Iterator[None]:
    """The session of that number accepts every connection and answers none, and so
    many clients have sent it a request, which the server has passed on.

    Raises:
        ServerError: not all of them reached the session.
    """
    address = (wire.host(index), upstream_port)
    fields = (("Host", f"127.0.0.1:{server.port}"), *wire.HEADERS)
    lines = [f"GET {wire.path(index, wire.CHAT)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(address, backlog=clients))
        listener.settimeout(PATIENCE_SECONDS)
        for number in range(clients):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
            )
            client.sendall(request)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise ServerError(
                    f"{number} of {clients} requests reached the hung session"
                ) from None
            stack.enter_context(connection)
        yield
