"""What a request costs inside this package: rules, the flow, the codec.

Run it as `python tests/benchmarks/micro.py`. Each line is the least of many rounds,
in microseconds, and its share of the whole: shares hold from machine to machine, the
times do not. No loop and no socket: what those cost is `load.py`'s to say.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from session_proxy_middleware import MemoryStore, Request, SessionProxy
from session_proxy_middleware.exchange import (
    FindKey,
    FindService,
    FindSession,
    exchange,
)
from session_proxy_middleware.models import Ending
from session_proxy_middleware.rules import credential, forwarding, path
from session_proxy_middleware.upstream import h1

SESSION = "57af5437-97a2-4646-9873-a5c5935bd705"
PATH = f"/my-agent/sessions/{SESSION}/status"
SECRET = "pk_benchmark_benchmark_benchmark"
HEADERS = [
    (b"host", b"portal.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-GB,en;q=0.8"),
    (b"authorization", f"Bearer {SECRET}".encode()),
    (b"cookie", b"theme=dark; csrftoken=Zk3vT1c9"),
    (b"referer", b"https://portal.example.com/agents"),
    (b"origin", b"https://portal.example.com"),
    (b"sec-fetch-mode", b"cors"),
    (b"cache-control", b"no-cache"),
    (b"x-client-version", b"2.14.0"),
]
BODY = b'{"status":"running","turns":3}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 13:53:14 GMT\r\nserver: uvicorn\r\n"
    b"content-length: %d\r\ncontent-type: application/json\r\n\r\n%b"
) % (len(BODY), BODY)


class Answer:
    """What a transport would give."""

    def __init__(self, message: h1.Message) -> None:
        self.status = message.status
        self.headers = message.headers


def cost(work: Callable[[], object]) -> float:
    """Microseconds of one call: the least of many rounds."""
    return min(timeit.repeat(work, number=1000, repeat=60)) * 1000


def main() -> None:
    store = MemoryStore()
    session = store.sessions.register("my-agent", SESSION, "http://127.0.0.1:7860")
    store.keys.create(secret=SECRET)
    proxy = SessionProxy(store)
    raw_path = PATH.encode()
    route = proxy.match(PATH, raw_path)
    if route is None:
        raise SystemExit("the benchmark's own path does not match")

    def request() -> Request:
        return Request("GET", route, None, HEADERS, "127.0.0.1", "http", "1.1", {})

    one = request()
    one.id = proxy.new_request_id()
    rules, policy = proxy.header_policy.rules, proxy.header_policy
    fields = rules.sift(one)
    outbound = forwarding.outbound(one, fields, session, policy, (False, None))
    reader = h1.ResponseReader()

    def parse() -> h1.Message:
        message = h1.Message()
        reader.begin(message, is_head=False)
        reader.feed(RESPONSE)
        return message

    answer = Answer(parse())
    ending = Ending("completed", 0, len(BODY), 0.0, 0.0)
    lookups: dict[type, Callable[..., object]] = {
        FindKey: lambda step: store.keys.lookup(step.digest),
        FindService: lambda step: store.services.lookup(step.name),
        FindSession: lambda step: store.sessions.lookup(step.service, step.id),
    }

    def flow() -> None:
        steps = exchange(request(), proxy)
        step = next(steps)
        while type(step) in lookups:
            step = steps.send(lookups[type(step)](step))
        steps.send(answer)
        try:
            steps.send(ending)
        except StopIteration:
            return

    parts: dict[str, Callable[[], object]] = {
        "rules: match the route": lambda: proxy.match(PATH, raw_path),
        "rules: sift 12 header fields": lambda: rules.sift(one),
        "rules: bearer key, SHA-256": lambda: credential.digest(
            credential.bearer(fields.authorization)
        ),
        "rules: path, scope, reserved": lambda: path.look(route, proxy.reserved_paths),
        "rules: outbound fields": lambda: forwarding.outbound(
            one, fields, session, policy, (False, None)
        ),
        "rules: inbound fields": lambda: forwarding.inbound(
            answer.status, answer.headers, one, session, policy
        ),
        "codec: encode a request": lambda: h1.head(outbound),
        "codec: parse a response": parse,
        "exchange: the whole flow, by hand": flow,
    }
    costs = {name: cost(work) for name, work in parts.items()}
    outside = ("rules: match the route", "codec: encode a request")
    whole = (
        costs["exchange: the whole flow, by hand"]
        + costs["codec: parse a response"]
        + sum(costs[name] for name in outside)
    )
    for name, spent in costs.items():
        print(f"{name:36s}{spent:8.2f} us{spent / whole:8.0%}")
    print(f"{'match, flow and codec together':36s}{whole:8.2f} us{1:8.0%}")


if __name__ == "__main__":
    main()
