"""The demo's WebSocket: a text is sent, and what comes back is the answer."""

from __future__ import annotations

import shlex
import sys

SECONDS = 10.0
"""For opening it, and for the answer."""


def command(url: str, headers: dict[str, str], says: str) -> str:
    """A line for the shell, which prints the answer. `url`: of the HTTP kind."""
    lines = (
        "from websockets.sync.client import connect",
        f"chat = connect({_socket(url)!r}, additional_headers={headers!r}, proxy=None)",
        f"chat.send({says!r})",
        "print(chat.recv())",
        "chat.close()",
    )
    return shlex.join([sys.executable, "-c", "; ".join(lines)])


def converse(
    url: str, headers: dict[str, str], says: str
) -> tuple[int, dict[str, str], bytes]:
    """Status and header fields of the answer to the handshake, and what came back: the
    first message, or the body of a refusal.

    Raises:
        OSError: it was not opened, or broke off.
    """
    # Installed with the extra, and needed under ASGI alone.
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(
            _socket(url), additional_headers=headers, open_timeout=SECONDS, proxy=None
        ) as opened:
            opened.send(says)
            response, came = opened.response, opened.recv(SECONDS)
            body = came.encode() if isinstance(came, str) else came
    except InvalidStatus as refused:
        response, body = refused.response, bytes(refused.response.body or b"")
    except WebSocketException as error:
        raise ConnectionError(str(error)) from error
    if response is None:
        raise ConnectionError("opened without an answer")
    names = {name.lower(): value for name, value in response.headers.raw_items()}
    return response.status_code, names, body


def _socket(url: str) -> str:
    return url.replace("http", "ws", 1)
