"""Every named expectation of the server matrix is shown by a test."""

from __future__ import annotations

from tests.contract import test_instead_bodies as bodies
from tests.contract import test_instead_heads as heads
from tests.support.expectations import EXPECTED
from tests.support.instead import INSTEAD


def test_every_expectation_is_of_a_server_and_has_its_test() -> None:
    for name, expectation in INSTEAD.items():
        assert set(expectation.servers) <= set(EXPECTED), name
        assert hasattr(heads, f"test_{name}") or hasattr(bodies, f"test_{name}")
