"""Load on real servers: this package, its peers and the bounds in one run.

    python tests/benchmarks/load.py [scenario ...] [--seconds N] [--rounds N]

Read README.md beside this file before the figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.rig.command import main

if __name__ == "__main__":
    sys.exit(main())
