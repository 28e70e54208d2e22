"""A session that does exactly what a test tells it to, on a real socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LINGER_OFF = struct.pack("ii", 1, 0)


@dataclass
class Received:
    """One request as it arrived."""

    head: bytes
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def chunked(self) -> bool:
        return self.values(b"transfer-encoding") == [b"chunked"]


class Peer:
    """One accepted connection, as the script of a test sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.raw = bytearray()
        self.sent = 0
        self._unread = b""

    def send(self, data: bytes) -> None:
        """Send all of it, counting what the network took."""
        view = memoryview(data)
        while view:
            count = self.sock.send(view)
            self.sent += count
            view = view[count:]

    def head(self) -> Received | None:
        """The next request's head; None when the stream has ended."""
        data = self._until(b"\r\n\r\n")
        if data is None:
            return None
        line, *lines = data[:-4].split(b"\r\n")
        method, target, version = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = [(name, value) for name, value in (x.split(b": ", 1) for x in lines)]
        return Received(data, method, target, headers)

    def request(self) -> Received | None:
        """The next request, body and all."""
        received = self.head()
        if received is None:
            return None
        lengths = received.values(b"content-length")
        assert not (received.chunked and lengths)
        if received.chunked:
            received.body = self.chunked_body()
        elif lengths:
            received.body = self.exactly(int(lengths[0]))
        return received

    def chunked_body(self) -> bytes:
        """A body in chunks, decoded."""
        pieces: list[bytes] = []
        while True:
            line = self._until(b"\r\n")
            if line is None:
                raise EOFError("inside a chunked body")
            piece = self.exactly(int(line, 16))
            assert self.exactly(2) == b"\r\n"
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        pieces = [self._unread]
        self._unread = b""
        missing = size - len(pieces[0])
        while missing > 0:
            data = self.sock.recv(min(missing, 1 << 18))
            if not data:
                raise EOFError("inside a body")
            pieces.append(data)
            missing -= len(data)
        data = b"".join(pieces)
        data, self._unread = data[:size], data[size:]
        return data

    def some(self) -> bytes:
        """Whatever has come or comes next; none at the end."""
        if not self._unread:
            self._more()
        data, self._unread = self._unread, b""
        return data

    def gone(self, within: float = 1.0) -> bool:
        """Whether the other side closes in time; what it still sends is read."""
        self.sock.settimeout(within)
        end = time.monotonic() + within
        try:
            while time.monotonic() < end:
                if not self.sock.recv(65_536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        self.sock.close()

    def close(self) -> None:
        """Close with FIN, once what came is read (or it would be a RST)."""
        if isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.sock = self.sock.unwrap()
        self.sock.close()

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._unread:
            if not self._more():
                if self._unread:
                    raise EOFError("inside a head")
                return None
        data, _, self._unread = self._unread.partition(mark)
        return data + mark

    def _more(self) -> bool:
        data = self.sock.recv(65_536)
        self.raw += data
        self._unread += data
        return bool(data)


Script = Callable[[Peer], None]


def held_open(url: str) -> bool:
    """Whether this process still holds a connection to the address, as the kernel
    knows it: closing one is not seen by a session that does not read."""
    port = int(url.rpartition(":")[2])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    established = "01"
    return any(
        row[2].endswith(f":{port:04X}") and row[3] == established for row in rows
    )


@dataclass
class Upstream:
    """A listening session. Each connection runs the script in a thread."""

    script: Script
    listener: socket.socket
    url: str
    ssl_context: ssl.SSLContext | None = None
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    @property
    def connections(self) -> int:
        return len(self.peers)

    @property
    def raw(self) -> bytes:
        """Every byte that came, connection after connection."""
        return b"".join(bytes(peer.raw) for peer in self.peers)

    def start(self) -> None:
        """Accept until `stop`."""
        self._spawn(self._accept)

    def stop(self, within: float = 5.0) -> None:
        """Every connection must have ended by now: nothing may be left open."""
        self._closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        end = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        left = [thread for thread in self._threads if thread.is_alive()]
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for peer in self.peers:
            peer.sock.close()
        if self.failures:
            raise self.failures[0]
        assert not left, f"{len(left)} connections were left open"

    def _spawn(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(sock, len(self.peers))
            self.peers.append(peer)
            self._spawn(lambda peer=peer: self._run(peer))  # type: ignore[misc]

    def _run(self, peer: Peer) -> None:
        try:
            if self.ssl_context is not None:
                peer.sock = self.ssl_context.wrap_socket(peer.sock, server_side=True)
            self.script(peer)
        except (OSError, EOFError):
            pass  # The proxy broke the connection off; tests look at that elsewhere.
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            peer.sock.close()


def listening(script: Script, *, ssl_context: ssl.SSLContext | None = None) -> Upstream:
    """A session on a free port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    # Small on purpose, so that a held-up stream is held up soon.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    scheme = "http" if ssl_context is None else "https"
    url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    upstream = Upstream(script, listener, url, ssl_context)
    upstream.start()
    return upstream


def listening_unix(path: str, script: Script) -> Upstream:
    """A session on a unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    upstream = Upstream(script, listener, f"unix://{path}")
    upstream.start()
    return upstream


def ok(body: bytes = b"ok", *fields: bytes) -> bytes:
    """A whole response with a length."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(body)
    return head + b"".join(each + b"\r\n" for each in fields) + b"\r\n" + body


def untaking(done: threading.Event) -> Script:
    """Answers the head of one request with its target, takes nothing of its body, and
    keeps the connection until then."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        request = peer.head()
        assert request is not None
        time.sleep(0.2)  # Until what is to be taken has come.
        peer.send(ok(request.target))
        done.wait(15)

    return script


def replying(response: bytes) -> Script:
    """The same bytes to every request, as long as the connection lives."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(response)

    return script


def saying(response: bytes) -> Script:
    """These bytes to the first request, and then the end."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(response)
        peer.close()

    return script
