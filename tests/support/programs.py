"""Programs that some tests drive and that pip cannot install."""

from __future__ import annotations

import os
import shutil

import pytest

NEED_ALL = "TESTS_NEED_ALL_PROGRAMS"
"""Set in CI, where a program that is missing is a failure: nothing is skipped there."""


def program(*names: str, package: str) -> str:
    """The path of the first of these that is installed. Without one the test is
    skipped, and the reason says what to install (a package of Debian's)."""
    for name in names:
        if found := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
            return found
    missing = f"{names[0]} is not installed: apt-get install {package}"
    if os.environ.get(NEED_ALL):
        pytest.fail(missing)
    pytest.skip(missing)
