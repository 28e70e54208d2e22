"""A pooled connection that the session closes while the client is still thinking."""

from __future__ import annotations

import socket
import threading

from session_proxy_middleware import MemoryStore
from session_proxy_middleware.models import Block, Outbound
from session_proxy_middleware.upstream.blocking import HTTP11Transport

SESSION = "57af5437-97a2-4646-9873-a5c5935bd705"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class ThoughtfulUpload:
    """Gives its one piece only after the session has closed the connection."""

    def __init__(self, closed: threading.Event) -> None:
        self.ended = False
        self._closed = closed

    def read(self) -> bytes:
        assert self._closed.wait(5)
        self.ended = True
        return b"body"


def test_an_upload_that_took_its_time_goes_out_once_on_a_new_connection() -> None:
    closed, bodies = threading.Event(), list[bytes]()
    reading = threading.Event()

    def session(listener: socket.socket) -> None:
        first, _ = listener.accept()
        with first:
            first.recv(65536)
            first.sendall(ANSWER)
            assert reading.wait(5)
        closed.set()
        second, _ = listener.accept()
        with second:
            bodies.append(second.recv(65536))
            second.sendall(ANSWER)

    class Upload(ThoughtfulUpload):
        def read(self) -> bytes:
            reading.set()
            return super().read()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        store = MemoryStore()
        at = store.sessions.register("svc", SESSION, f"http://127.0.0.1:{port}")
        thread = threading.Thread(target=session, args=(listener,))
        thread.start()
        transport = HTTP11Transport()
        host = Block([at.host_field])
        get = Outbound(at, b"GET", b"/", (host,), b"r-1", False, None)
        assert transport.send(get, None).read() == b"ok"
        post = Outbound(at, b"POST", b"/", (host,), b"r-2", True, 4)
        assert transport.send(post, Upload(closed)).read() == b"ok"
        transport.close()
        thread.join(5)
    assert len(bodies) == 1
    assert bodies[0].endswith(b"\r\n\r\nbody")
