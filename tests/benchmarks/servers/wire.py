"""What the servers and the clients of one benchmark agree on.

Candidates import this too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import os
from typing import Final

SERVICE: Final = "my-agent"
SECRET: Final = "pk_benchmark_benchmark_benchmark"

#: What the upstream answers to a small request, and the bare application too.
BODY: Final = (
    b'{"id": "57af5437", "status": "ok", "model": "small", "turns": 12, '
    b'"message": "Hello, how can I help you today?", "latency_ms": 41.5}'
)
EVENT: Final = b'data: {"type": "delta", "index": 12, "text": "a few words"}\n\n'
EVENTS_PER_SECOND: Final = 10
BLOB_BYTES: Final = 256 * 1024 * 1024

#: The last segments of the paths the upstreams know.
CHAT: Final = "chat"
BLOB: Final = "blob"
EVENTS: Final = "events"
UPLOAD: Final = "upload"
SOCKET: Final = "ws"

#: What a browser or an SDK sends, `Host` aside; the same for every candidate.
HEADERS: Final = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"),
    ("Accept", "application/json, text/event-stream;q=0.9, */*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-GB,en;q=0.8,de;q=0.5"),
    ("Authorization", f"Bearer {SECRET}"),
    ("Cookie", "theme=dark; csrftoken=Zk3vT1c9; sessionid=0c1f6a7be2"),
    ("Referer", "https://portal.example.com/agents/my-agent"),
    ("Origin", "https://portal.example.com"),
    ("Sec-Fetch-Mode", "cors"),
    ("Cache-Control", "no-cache"),
    ("X-Client-Version", "2.14.0"),
)


def session_id(index: int) -> str:
    """The id of the session of that number: a UUID."""
    return f"57af5437-97a2-4646-9873-{index:012x}"


def path(index: int, tail: str) -> str:
    """The public path of `tail` in the session of that number."""
    return f"/{SERVICE}/sessions/{session_id(index)}/{tail}"


def host(index: int) -> str:
    """The loopback address of the session of that number; no two are equal."""
    return f"127.1.{index // 250}.{index % 250 + 1}"


def origin(index: int = 0) -> str:
    """The upstream of the session of that number, as told by the environment."""
    return f"http://{host(index)}:{os.environ['BENCHMARK_UPSTREAM_PORT']}"


def sessions() -> int:
    """How many sessions the candidate registers, as told by the environment."""
    return int(os.environ.get("BENCHMARK_SESSIONS", "1"))
