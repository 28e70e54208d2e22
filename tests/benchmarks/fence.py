"""How many requests reach another session than they asked for.

    python tests/benchmarks/fence.py [--requests N] [--sessions N] [--ports N]

200 sessions on 20 ports end, start and move at random, in another process than the
one that serves, while 50,000 requests come: through this package with and without a
guard on the bots, and through a plain httpx route over the same store, with look-ups
that are remembered for as long as this package does (1 s) and not remembered at all.
A session ends with every 250th request, so that a slower candidate sees fewer of them
while what it remembers is out of date. Some minutes; the plain route takes most.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from session_proxy_middleware import open_store
from tests.support.bots import Bots
from tests.support.cluster import Cluster
from tests.support.reuse import Churn, Storm

SECRET = "pk_benchmark_benchmark_benchmark_benchmark"
ROUTE = "tests.benchmarks.servers.asgi_route"
OURS = "tests.support.cluster"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the requests go through."""

    name: str
    application: str
    guarded: bool
    remembers: bool = True
    driver: str = "uvicorn"


CANDIDATES = (
    Candidate("this package, guarded (ASGI)", OURS, True),
    Candidate("this package, guarded (WSGI)", OURS, True, driver="gunicorn"),
    Candidate("this package, no guard", OURS, False),
    Candidate("plain httpx route, look-ups remembered", ROUTE, False),
    Candidate("plain httpx route, asks every time", ROUTE, False, remembers=False),
)


def measured(
    candidate: Candidate, folder: Path, options: argparse.Namespace
) -> tuple[int, Counter[str]]:
    """Requests that reached a bot of another session, and what clients got."""
    url = f"sqlite:///{folder}/s.db"
    store = open_store(url)
    store.keys.create(secret=SECRET)
    kind = "wsgi" if candidate.driver == "gunicorn" else "asgi"
    environment = {"ROUTE_REMEMBERS": str(int(candidate.remembers))}
    with (
        Bots(kind, options.ports, guarded=candidate.guarded) as bots,
        Cluster(
            candidate.driver,
            url,
            folder,
            application=candidate.application,
            environment=environment,
        ) as running,
    ):
        churn = Churn(store, bots, options.sessions, random.Random(options.seed))
        storm = Storm(churn, running.address, SECRET)
        storm.run(options.requests, options.sessions)
        _, wrong, _ = bots.counts()
    store.close()
    return wrong, storm.answers


def main() -> int:
    """Measure and print; 1 where a guarded session got what is another's."""
    parser = argparse.ArgumentParser(prog="fence.py")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--ports", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = False
    print(f"{options.requests:,} requests, {options.sessions} sessions, ", end="")
    print(f"{options.ports} ports")
    print(f"{'':42s}{'to another session':>20s}{'seconds':>9s}  answers")
    for candidate in CANDIDATES:
        with tempfile.TemporaryDirectory(prefix="session-proxy-benchmark-") as name:
            began = time.monotonic()
            wrong, answers = measured(candidate, Path(name), options)
            seconds = time.monotonic() - began
        failed = failed or bool(candidate.guarded and wrong)
        said = ", ".join(f"{count:,} {what}" for what, count in answers.most_common())
        print(f"{candidate.name:42s}{wrong:20,d}{seconds:9.0f}  {said}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
