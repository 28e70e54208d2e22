"""What each store costs.

    python tests/benchmarks/stores.py [store ...] [--seconds N] [--rounds N]

First the time of a look-up with 1,000 sessions and keys, and with 1,000,000 sessions
and 100,000 keys: the ratio says whether it grows. "One of 100 in use" is the work of a
look-up; "any of all" has what the processor finds in none of its caches in it, too, as
the bare dict beside it shows. Then, with all of memory, sqlite and
redis, CPU per small GET under uvicorn beside the store in memory (needs wrk and nginx,
see README.md). A Redis server is started for it on a free port. About three minutes,
and 2 GiB for memory's million.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.rig import stores
from tests.benchmarks.rig.bench import Settings
from tests.support.redis_server import RedisServer

KINDS = ("memory", "sqlite", "redis")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="stores.py")
    parser.add_argument("stores", nargs="*", metavar="store", help="all without any")
    parser.add_argument("--seconds", type=int, default=2, help="length of a load (2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    options = parser.parse_args()
    if unknown := set(options.stores) - set(KINDS):
        parser.error(f"no store {sorted(unknown)}; there are {', '.join(KINDS)}")
    asked = [kind for kind in KINDS if kind in (options.stores or KINDS)]
    with tempfile.TemporaryDirectory(prefix="session-proxy-benchmark-") as name:
        folder = Path(name)
        with RedisServer(folder) as server:
            heads = ("us", "1,000", "1,000,000", "ratio")
            print(f"{heads[0]:44s}{heads[1]:>10s}{heads[2]:>10s}{heads[3]:>8s}")
            for kind in asked:
                for line in stores.lookups(kind, _url(kind, folder, server), _say):
                    print(line, flush=True)
            server.ask("FLUSHALL")
            if asked == list(KINDS):
                folder = folder / "requests"
                folder.mkdir()
                print(
                    f"\n{'small GET':12s}{'req/s':>10s}{'CPU us':>12s}{'x memory':>12s}"
                )
                urls = {kind: _url(kind, folder, server) for kind in KINDS}
                for text in stores.requests(_settings(options), urls):
                    print(text, flush=True)
    return 0


def _url(kind: str, folder: Path, server: RedisServer) -> str:
    named = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/sessions.db"}
    # It is filled with long commands.
    return named.get(kind, f"{server.url}?socket_timeout=60")


def _settings(options: argparse.Namespace) -> Settings:
    cores = sorted(os.sched_getaffinity(0))
    return Settings(
        seconds=options.seconds,
        rounds=options.rounds,
        only=frozenset(),
        quick=False,
        loop="asyncio",
        server_core=cores[0],
        load_core=cores[-1],
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
