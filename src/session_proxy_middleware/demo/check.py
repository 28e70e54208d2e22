"""`--check`: every call is made and compared with what should come back."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import NamedTuple

from . import chat
from .calls import Answer, Call, Fault

CALL_SECONDS = 10.0


class Outcome(NamedTuple):
    """What became of a call."""

    answer: Answer | None
    took: float
    """Seconds from connecting to the last byte."""
    fault: Fault


def check(
    calls: list[Call], *, port: int, secret: str, say: Callable[[str], None]
) -> bool:
    """Make the calls, say a line about each, and tell whether all went well."""
    width = max(len(call.name) for call in calls)
    say(f"{'call':<{width}}  expected  status        ms  answered by")
    failed = 0
    for call in calls:
        outcome = attempt(call, port=port, secret=secret)
        say(row(call, outcome, width))
        failed += outcome.fault is not None
    good = len(calls) - failed
    say("")
    say(f"{good} of {len(calls)} calls came back as expected.")
    return not failed


def row(call: Call, outcome: Outcome, width: int) -> str:
    """A line of the table."""
    answer = outcome.answer
    status, answered_by = "-", "nobody"
    if answer is not None:
        status, answered_by = str(answer.status), answer.answered_by
    line = (
        f"{call.name:<{width}}  {call.status:>8}  {status:>6}"
        f"  {outcome.took * 1000:>8.1f}  {answered_by:<11}"
    )
    return f"{line}  OK" if outcome.fault is None else f"{line}  FAIL {outcome.fault}"


def attempt(call: Call, *, port: int, secret: str) -> Outcome:
    """Make a call on a connection of its own, and judge the answer."""
    answer: Answer | None = None
    fault: Fault
    started = time.perf_counter()
    try:
        answer = _ask(call, port, secret)
        fault = _judge(call, answer)
    except (OSError, http.client.HTTPException) as error:
        fault = f"{type(error).__name__}: {error}"
    return Outcome(answer, time.perf_counter() - started, fault)


def _ask(call: Call, port: int, secret: str) -> Answer:
    if call.says is not None:
        url = f"http://127.0.0.1:{port}{call.path}"
        status, headers, body = chat.converse(url, call.headers(secret), call.says)
        return Answer(status=status, headers=headers, pieces=[(time.time(), body)])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        # The path goes out as it is: a dot segment must arrive as one.
        connection.request(call.method, call.path, call.body(), call.headers(secret))
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
