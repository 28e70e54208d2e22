"""The command line: runs what was asked for, prints the report."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from . import catalogue, passing, report, wrk
from .bench import Bench, Settings
from .processes import ServerError
from .scenarios import SCENARIOS
from .targets import Outcomes, Verdict, verdicts

PASSING: Final = "passing"
DESCRIPTION: Final = "Load on real servers: this package, its peers, the bounds."


def main() -> int:
    """Run what was asked for; 0, or 2 where something needed is absent.

    With `--strict`, 1 where a target was missed or a candidate failed.
    """
    options = _options()
    asked = options.scenarios or [*SCENARIOS, PASSING]
    try:
        settings = _settings(options)
        wrk.executable()
    except ServerError as error:
        print(f"load.py: {error}", file=sys.stderr)
        return 2
    _prepare()
    print("\n".join(report.machine(settings)), flush=True)
    outcomes: Outcomes = {}
    judged: list[Verdict] = []
    try:
        with Bench(settings) as bench:
            for name in (name for name in SCENARIOS if name in asked):
                bench.progress(name)
                scenario = SCENARIOS[name]
                if settings.quick and not settings.only:
                    bench.only = scenario.quick
                outcomes[name] = scenario.run(bench)
                lines = report.table(name, outcomes[name])
                print(f"\n{name}", *lines, sep="\n", flush=True)
            judged = list(verdicts(outcomes))
            if PASSING in asked:
                bench.progress(PASSING)
                judged += _passing()
    except ServerError as error:
        print(f"load.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("load.py: stopped; every server it started is too", file=sys.stderr)
        return 130
    if judged:
        print("\ntargets", *report.judged(judged), sep="\n")
    if options.json:
        report.write(
            options.json, settings=settings, outcomes=outcomes, verdicts=judged
        )
    failed = any(row.failure for rows in outcomes.values() for row in rows)
    missed = any(verdict.word != "OK" for verdict in judged)
    return 1 if options.strict and (failed or missed) else 0


def _options() -> argparse.Namespace:
    known = [*SCENARIOS, PASSING]
    parser = argparse.ArgumentParser(prog="load.py", description=DESCRIPTION)
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="scenario",
        help=f"one or more of {', '.join(known)}; all without any",
    )
    parser.add_argument("--seconds", type=int, help="length of one load (2)")
    parser.add_argument("--rounds", type=int, help="turns a candidate gets (3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of one second, of the candidates that targets name",
    )
    parser.add_argument(
        "--only", default="", help="candidates, separated by commas; all without"
    )
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--strict", action="store_true", help="a miss exits with 1")
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in known:
            parser.error(f"no scenario {name!r}; there are {', '.join(known)}")
    return options


def _settings(options: argparse.Namespace) -> Settings:
    names = {one.name for one in (*catalogue.FLOORS, *catalogue.CANDIDATES)}
    only = frozenset(filter(None, options.only.split(",")))
    if unknown := only - names:
        what = ", ".join(sorted(unknown))
        raise ServerError(f"no candidate {what}; there are {', '.join(sorted(names))}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("load.py: one core: server and load share it", file=sys.stderr)
    return Settings(
        seconds=options.seconds or (1 if options.quick else 2),
        rounds=options.rounds or (1 if options.quick else 3),
        only=only,
        quick=options.quick,
        loop=options.loop,
        server_core=cores[0],
        load_core=cores[-1],
    )


def _prepare() -> None:
    """Raise the limit on open files, and let a SIGTERM stop the servers too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def interrupted(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)


def _passing() -> list[Verdict]:
    try:
        return list(passing.measured())
    except ImportError as error:
        return [Verdict(f"request that is not a session's: {error}", None, at_most=1.0)]
