"""`session-proxy demo` as somebody uses it who tries things out."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from .lines import WAYS, Seen, printed
from .running import COMMAND, READY, Demo, descendants, left

CHILDREN = ("bot-1", "bot-2", "admin", "portal")


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """A demo that is up, for tests that only use it."""
    options = ["--wsgi"] if request.param == "wsgi" else []
    folder = tmp_path_factory.mktemp("demo")
    with Demo(folder, "--port", "0", *options) as running:
        running.until(READY)
        yield running


@pytest.mark.parametrize("perform", WAYS)
def test_each_printed_line_gets_the_answer_printed_above_it(
    demo: Demo, perform: Callable[[str], Seen]
) -> None:
    lines = printed(demo.output)
    assert len(lines) == demo.output.count("curl ") > 20
    for line in lines:
        assert perform(line.line) == (line.status, line.answered_by), line.name


def test_the_printed_line_for_a_websocket_prints_what_comes_back(
    tmp_path: Path,
) -> None:
    with Demo(tmp_path, "--port", "0") as demo:
        output = demo.until(READY)
        said = "# a WebSocket chat: 101 by bot-1\n"
        line = output.partition(said)[2].partition("\n")[0]
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"heard": "Hello", "messages": 1}
        shown = demo.until("bot-1/ws")
        assert re.search(
            r"portal \| \S+  101  bot-1 .*  WEBSOCKET bot-1/ws$", shown, re.M
        )


def test_each_request_is_shown_as_it_passes(demo: Demo) -> None:
    lines = {line.name: line.line for line in printed(demo.output)}
    # Paths of this test's own, so that no line of another is taken for one of it.
    WAYS[0](lines["JSON to a session"].replace("/speak", "/shown/1"))
    WAYS[0](lines["a wrong key"].replace("/status", "/shown/2"))
    WAYS[0](lines["a dot segment"].replace("/portal", "/shown/3"))
    for number in "123":
        output = demo.until(f"/shown/{number}")
    shown = re.compile(r"^portal \| \S+ +(.+?) +[\d.]+ ms +(.+/shown/.*)$", re.M)
    # Under WSGI a line comes once the reply is out: the next request may be quicker.
    assert sorted(shown.findall(output)) == [
        ("400  proxy", "58 B  GET bot-1/../../shown/3  (malformed_path)"),
        ("401  proxy", "56 B  GET bot-1/shown/2  (unauthenticated)"),
        ("404  bot-1", "22 B  POST bot-1/shown/1"),
    ]


def test_each_change_through_the_admin_api_is_shown_with_who_made_it(
    demo: Demo,
) -> None:
    lines = {line.name: line.line for line in printed(demo.output)}
    begin = lines["admin: begin a session"]
    [id] = re.findall(r"/sessions/(\S+)", begin)
    shown = str(uuid4())
    WAYS[0](begin.replace(id, shown))
    demo.until(f"demo session.register service=my-agent session_id={shown} 201")
    WAYS[0](lines["admin: end it"].replace(id, shown))
    demo.until(f"demo session.end service=my-agent session_id={shown} 200")


def test_no_key_is_in_an_argument_of_any_process(demo: Demo) -> None:
    keys = re.findall(r"^The .*key.*: ((?:pk|adm)_\S+)$", demo.output, re.M)
    assert len(keys) == 2
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True)
    assert not [key for key in keys if key in listed.stdout]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_portal_does_not_know_the_admin_key(demo: Demo) -> None:
    [key] = re.findall(r"^The admin key.*: (adm_\S+)$", demo.output, re.M)
    for name in CHILDREN:
        environment = Path(f"/proc/{demo.pid(name)}/environ").read_bytes()
        assert (key.encode() in environment) == (name == "admin")


@pytest.mark.parametrize(
    ("number", "options", "status"),
    [
        (signal.SIGINT, [], 0),
        (signal.SIGINT, ["--wsgi"], 0),
        (signal.SIGTERM, [], 128 + signal.SIGTERM),
        (signal.SIGKILL, [], -signal.SIGKILL),
        (signal.SIGKILL, ["--wsgi"], -signal.SIGKILL),
    ],
)
def test_whatever_ends_the_demo_ends_what_it_started(
    tmp_path: Path, number: int, options: list[str], status: int
) -> None:
    with Demo(tmp_path, "--port", "0", *options) as demo:
        demo.until(READY)
        started = descendants(demo.process.pid)
        assert {demo.pid(name) for name in CHILDREN} <= started
        demo.process.send_signal(number)
        assert demo.process.wait(10) == status
        assert left(started) == set()


def test_a_reader_that_has_gone_ends_the_demo() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        started = descendants(process.pid)
        assert len(started) == 4
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == b""
    assert left(started) == set()


def test_a_session_that_died_is_told_and_answered_for_by_the_proxy(
    tmp_path: Path,
) -> None:
    with Demo(tmp_path, "--port", "0") as demo:
        output = demo.until(READY)
        [killing] = re.findall(r"^kill (\d+)$", output, re.M)
        assert int(killing) == demo.pid("bot-2")
        subprocess.run(["kill", killing], check=True)
        demo.until("bot-2  | ended")
        [line] = [each.line for each in printed(output) if each.answered_by == "bot-2"]
        assert WAYS[0](line) == (502, "proxy")
        demo.until("GET bot-2/status  (upstream_unreachable)")
