"""What `session-proxy demo` does, from start to end."""

from __future__ import annotations

import contextlib
import sys
import time

from .call import Call
from .calls import calls
from .check import check
from .children import Child
from .stage import Stage, stage


def run(*, wsgi: bool, checking: bool, port: int | None) -> int:
    """Run the demo until Ctrl-C, or check it; the exit status.

    Raises:
        DemoError: it could not be started.
    """
    try:
        with stage(wsgi=wsgi, port=port, say=say) as scene:
            asked = calls(scene.bots, wsgi=wsgi)
            return _check(scene, asked) if checking else _serve(scene, asked)
    except KeyboardInterrupt:
        # The way to end the demo; a check that was broken off is another matter.
        return 130 if checking else 0


def say(line: str) -> None:
    """A line on the terminal, in one piece: several threads say something."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _check(scene: Stage, asked: list[Call]) -> int:
    say("")
    good = check(asked, scene.endpoints, say=say)
    # What goes wrong after the last byte of an answer shows here alone.
    upset = [child.name for child in scene.children if child.printed("Traceback ")]
    if good and not upset:
        return 0
    if upset:
        say(f"Errors were printed by: {', '.join(upset)}.")
    for child in scene.children:
        for line in tuple(child.output):
            say(f"{child.name:<6} | {line}")
    return 1


def _serve(scene: Stage, asked: list[Call]) -> int:
    _introduce(scene, asked)
    for child in scene.children:
        _follow(child)
    running = scene.children
    while scene.portal.alive:
        time.sleep(0.2)
        for child in [each for each in running if not each.alive]:
            running.remove(child)
            say(f"{child.name:<6} | ended with status {child.process.returncode}")
    return 1


def _introduce(scene: Stage, asked: list[Call]) -> None:
    say("")
    say(f"The key: {scene.endpoints.secret}")
    say(f"The admin key, for {scene.admin.url} alone: {scene.endpoints.admin_key}")
    for call in asked:
        say("")
        say(f"# {call.name}: {call.status} by {call.answered_by}")
        say(call.command(scene.endpoints))
    say("")
    say("# a session that has gone: 502 by proxy, after")
    say(f"kill {scene.sessions[-1].process.pid}")
    say("")
    say("Below: each request through the proxy, each change through the admin API.")
    say("Ctrl-C ends everything.")


def _follow(child: Child) -> None:
    def show(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            say(f"{child.name:<6} | {line}")

    child.show = show
