"""`stored` on the sqlite store."""

from __future__ import annotations

from . import stored

app = stored.app("BENCHMARK_SQLITE")
