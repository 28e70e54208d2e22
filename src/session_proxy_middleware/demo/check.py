"""`--check`: every call is made and compared with what should come back."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import NamedTuple

from ..table import Table
from . import chat
from .call import Answer, Call, Endpoints, Fault

CALL_SECONDS = 10.0


class Outcome(NamedTuple):
    """What became of a call."""

    answer: Answer | None
    took: float
    """Seconds from connecting to the last byte."""
    fault: Fault


def check(
    calls: list[Call], endpoints: Endpoints, *, say: Callable[[str], None]
) -> bool:
    """Make the calls, say a line about each, and tell whether all went well."""
    width = max(len(call.name) for call in calls)
    table = Table(
        ("call", "expected", "status", "ms", "answered by", ""),
        widths=(width, 0, 0, 8, 0, 0),
        right=("expected", "status", "ms"),
    )
    say(table.heading)
    failed = 0
    for call in calls:
        outcome = attempt(call, endpoints)
        say(table.line(row(call, outcome)))
        failed += outcome.fault is not None
    good = len(calls) - failed
    say("")
    say(f"{good} of {len(calls)} calls came back as expected.")
    return not failed


def row(call: Call, outcome: Outcome) -> tuple[str, ...]:
    """The cells of a line."""
    answer = outcome.answer
    status, answered_by = "-", "nobody"
    if answer is not None:
        status, answered_by = str(answer.status), answer.answered_by
    verdict = "OK" if outcome.fault is None else f"FAIL {outcome.fault}"
    took = f"{outcome.took * 1000:.1f}"
    return call.name, str(call.status), status, took, answered_by, verdict


def attempt(call: Call, endpoints: Endpoints) -> Outcome:
    """Make a call on a connection of its own, and judge the answer."""
    answer: Answer | None = None
    fault: Fault
    started = time.perf_counter()
    try:
        answer = _ask(call, endpoints)
        fault = _judge(call, answer)
    except (OSError, http.client.HTTPException) as error:
        fault = f"{type(error).__name__}: {error}"
    return Outcome(answer, time.perf_counter() - started, fault)


def _ask(call: Call, endpoints: Endpoints) -> Answer:
    if call.says is not None:
        status, headers, body = chat.converse(
            call.url(endpoints), call.headers(endpoints), call.says
        )
        return Answer(status=status, headers=headers, pieces=[(time.time(), body)])
    connection = http.client.HTTPConnection(
        "127.0.0.1", call.port(endpoints), timeout=CALL_SECONDS
    )
    try:
        # The path goes out as it is: a dot segment must arrive as one.
        connection.request(call.method, call.path, call.body(), call.headers(endpoints))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(status=response.status, headers=headers)
        while piece := response.read1(65_536):
            answer.pieces.append((time.time(), piece))
        return answer
    finally:
        connection.close()


def _judge(call: Call, answer: Answer) -> Fault:
    if answer.status != call.status:
        return f"status {answer.status}, not {call.status}"
    if answer.answered_by != call.answered_by:
        return f"answered by {answer.answered_by}, not {call.answered_by}"
    try:
        return call.verify(answer)
    except (ValueError, LookupError, AttributeError) as error:
        return f"not the expected body: {error}"
