"""Every server, by one fixture.

Alone, `pytest` runs the whole on the two of `WHOLE` and what is marked `everywhere`
on the others. `--servers=rest` runs what that leaves out, `--servers=all` the whole on
every one, and names separated by commas on them. The whole is the same tests on every
server; a test that counts or repeats says by `portal.whole` how often on which. What is
marked `engine` (where a session has gone, while requests to it are under way) is tried
on the two alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ..support.cases import Cases
from ..support.expectations import EXPECTED, WHOLE
from ..support.instead import INSTEAD, replaced
from ..support.servers import Portal, Site
from ..support.upstream import Play, Upstream, answering

Serve = Callable[..., Upstream]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which servers the whole of the contract is tried on."""
    parser.addoption("--servers", default="", help="all, rest, or names between commas")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each server that it is meant for."""
    fixture = "portal" if "portal" in metafunc.fixturenames else "server"
    if fixture not in metafunc.fixturenames:
        return
    asked: str = metafunc.config.getoption("--servers", default="")
    names = [*filter(None, asked.split(","))]
    if asked == "all":
        names = list(EXPECTED)
    elif asked == "rest":
        names = [each for each in EXPECTED if each not in WHOLE]
    if unknown := set(names) - set(EXPECTED):
        raise pytest.UsageError(f"--servers: no {unknown}, but {', '.join(EXPECTED)}")
    instead = metafunc.definition.get_closest_marker("instead")
    if instead is not None:
        meant = INSTEAD[instead.args[0]].servers
        names = [name for name in meant if name in names or not asked]
        if asked == "rest":
            names = []
    elif asked == "rest" and metafunc.definition.get_closest_marker("everywhere"):
        names = []
    elif not asked:
        everywhere = metafunc.definition.get_closest_marker("everywhere")
        names = list(EXPECTED if everywhere else WHOLE)
    if metafunc.definition.get_closest_marker("engine") is not None:
        names = [name for name in names if name in WHOLE]
    if fixture == "portal":
        metafunc.parametrize(fixture, names, indirect=True, scope="session")
    else:  # The test starts it itself.
        metafunc.parametrize(fixture, names)


def pytest_collection_modifyitems(
    items: list[pytest.Item], config: pytest.Config
) -> None:
    """What a server makes impossible, a test of test_instead_*.py stands for. What is
    tried on no particular server is none of the rest."""
    rest = config.getoption("--servers", default="") == "rest"
    items[:] = [each for each in items if _meant(each, rest)]


def _meant(item: pytest.Item, rest: bool) -> bool:
    if not isinstance(item, pytest.Function):
        return True
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if not {"portal", "server"} & set(params):
        return not rest
    server = params.get("portal", params.get("server"))
    if not isinstance(server, str):
        return False  # Not for any of the servers that were asked for.
    if item.get_closest_marker("instead") is not None:
        return True
    return not replaced(server, item.originalname, item.callspec.id)


@pytest.fixture(scope="session")
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """The portal under a real server, each started once."""
    with Portal(request.param, tmp_path_factory.mktemp("portal")) as running:
        yield running
    assert running.troubles == []


@pytest.fixture
def cases(portal: Portal, request: pytest.FixtureRequest) -> Cases:
    """Runs many cases in this one test."""
    return Cases(portal.server, request.node.originalname)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start upstreams that play what they are given; they end with the test."""
    with ExitStack() as stack:

        def start(play: Play | None = None, **options: Any) -> Upstream:
            return stack.enter_context(Upstream(play or answering(), **options))

        yield start


@pytest.fixture
def upstream(serve: Serve) -> Upstream:
    """One that answers everything."""
    return serve()


@pytest.fixture
def site(portal: Portal, upstream: Upstream) -> Site:
    """Where it is to be found."""
    return portal.mount(upstream)
