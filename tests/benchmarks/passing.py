"""What a request that is not a session's costs on its way to the application.

    python tests/benchmarks/passing.py

In one process, without a server: an application that does nothing, called directly
and through the middleware in turn. A line a protocol and kind of path.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.rig.passing import measured

if __name__ == "__main__":
    for verdict in measured():
        print(
            f"{verdict.claim}: {verdict.measured:.2f} {verdict.more}, "
            f"target {verdict.target}: {verdict.word}"
        )
