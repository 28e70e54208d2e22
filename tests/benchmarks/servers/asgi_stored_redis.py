"""`stored` on the redis store."""

from __future__ import annotations

from . import stored

app = stored.app("BENCHMARK_REDIS")
