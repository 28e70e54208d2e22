"""Two things hold for every test. A slow machine is no falsified property. And what
bounds the time of many requests runs `alone`: its bound is for what the proxy takes,
not for what the tests of other workers leave of the machine. Each folder of tests
brings its own fixtures."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from .support.turns import turn

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Every test in its turn, where there are several workers."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    folder = Path(item.config.option.basetemp).parent  # Of all workers of this run.
    with turn(folder, alone=item.get_closest_marker("alone") is not None):
        return (yield)
