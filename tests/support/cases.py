"""Many cases in one test: several at once, and every failure by the name of its case.

A test for each would start, mount and wait on its own; where hundreds differ only in
the bytes that they send, on eleven servers, that is most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .instead import INSTEAD, replaced

Result = TypeVar("Result")

TOGETHER = 8


class Cases:
    """The cases of one test on one server: those that it makes impossible are left
    out (`instead.INSTEAD` names them like `test_x[part of the case`)."""

    def __init__(self, server: str, test: str) -> None:
        self._server = server
        self._test = test
        alone = server in INSTEAD["one_at_a_time"].servers
        self._together = 1 if alone else TOGETHER

    def __call__(
        self, names: Iterable[str], run: Callable[[str], Result]
    ) -> dict[str, Result]:
        """What `run` returns for each of `names`.

        Raises:
            ExceptionGroup: what it raised, each with the name of its case.
        """
        meant = [name for name in names if not replaced(self._server, self._test, name)]
        with ThreadPoolExecutor(self._together) as pool:
            running = {name: pool.submit(run, name) for name in meant}
        failures = []
        for name, each in running.items():
            failure = each.exception()
            if failure is not None:
                failure.add_note(f"in the case of {name!r}")
                failures.append(failure)
        if failures:
            raise BaseExceptionGroup(f"{len(failures)} of {len(meant)} cases", failures)
        return {name: each.result() for name, each in running.items()}
