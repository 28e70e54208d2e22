"""`stored` on the memory store."""

from __future__ import annotations

from . import stored

app = stored.app("BENCHMARK_MEMORY")
