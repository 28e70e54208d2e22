"""What must hold, computed from one run: a ratio, its target, OK or MISS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from .bench import Row
from .scenarios import CONNECTIONS, HEADLINE

Outcomes = dict[str, list[Row]]

ASGI: Final = "session-proxy"
WSGI: Final = "session-proxy-wsgi"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One requirement and what was measured of it; None where nothing was."""

    claim: str
    measured: float | None
    at_most: float | None = None
    at_least: float | None = None
    more: str = ""

    @property
    def word(self) -> str:
        """OK, MISS, or that it was not measured."""
        if self.measured is None:
            return "NOT MEASURED"
        low = self.at_least is None or self.measured >= self.at_least
        high = self.at_most is None or self.measured <= self.at_most
        return "OK" if low and high else "MISS"

    @property
    def target(self) -> str:
        """The target as text."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}"


def ratio(rows: Sequence[Row], metric: str, ours: str, theirs: str) -> float | None:
    """The median over the rounds of one candidate's figure to another's."""
    samples = {row.candidate: row.samples.get(metric, []) for row in rows}
    pairs = zip(samples.get(ours, ()), samples.get(theirs, ()), strict=False)
    ratios = [mine / other for mine, other in pairs if other]
    return median(ratios) if ratios else None


def value(
    rows: Sequence[Row],
    metric: str,
    candidate: str,
    of: Callable[[Sequence[float]], float] = median,
) -> float | None:
    """One figure of one candidate over the rounds; the median, or `of` them."""
    for row in rows:
        if row.candidate == candidate and row.samples.get(metric):
            return of(row.samples[metric])
    return None


def verdicts(outcomes: Outcomes) -> Iterator[Verdict]:
    """Every requirement on a scenario that was run."""
    for scenario, judge in _JUDGES.items():
        if scenario in outcomes:
            yield from judge(outcomes[scenario])


def _asgi_get(rows: list[Row]) -> Iterator[Verdict]:
    yield _cpu(rows, "ASGI small GET", ASGI, "bare-uvicorn", 2.0)
    yield _rate(rows, "ASGI small GET", ASGI, "asgiproxy", 3.0)
    yield _rate(rows, "ASGI small GET", ASGI, "fastapi-proxy-lib", 20.0)
    yield _rate(rows, "ASGI small GET", ASGI, "fastapi-httpx", 20.0)


def _wsgi_get(rows: list[Row]) -> Iterator[Verdict]:
    yield _cpu(rows, "WSGI small GET", WSGI, "bare-gunicorn", 1.25)
    yield _rate(rows, "WSGI small GET", WSGI, "werkzeug-proxy", 1.6)
    yield _rate(rows, "WSGI small GET", WSGI, "django-revproxy", 3.0)


def _sessions(rows: list[Row]) -> Iterator[Verdict]:
    for name in (ASGI, WSGI):
        claim = f"2,000 sessions: {name} CPU/request to one session's"
        yield Verdict(claim, value(rows, "ratio", name), at_most=1.4)


def _bulkhead(rows: list[Row]) -> Iterator[Verdict]:
    claim = f"19 sessions beside one that hangs: {ASGI} p99 to p99 without it"
    yield Verdict(claim, value(rows, "ratio", ASGI), at_most=1.5)


def _download(rows: list[Row]) -> Iterator[Verdict]:
    yield from _growth(rows, "download")
    claim = f"256 MiB download: {ASGI} MB/s to nginx's"
    yield Verdict(claim, ratio(rows, "mbps", ASGI, "nginx"), at_least=1.0)


def _upload(rows: list[Row]) -> Iterator[Verdict]:
    yield from _growth(rows, "upload")


def _events(rows: list[Row]) -> Iterator[Verdict]:
    claim = f"500 event streams: {ASGI} KiB a stream"
    yield Verdict(claim, value(rows, "kib", ASGI), at_most=25.0)
    claim = f"500 event streams: {ASGI} CPU/event to nginx's"
    yield Verdict(claim, ratio(rows, "cpu", ASGI, "nginx"), at_most=2.0)


def _websocket(rows: list[Row]) -> Iterator[Verdict]:
    theirs = "fastapi-proxy-lib"
    claim = f"WebSocket echo: {ASGI} CPU/round trip to {theirs}'s"
    found = ratio(rows, f"cpu@{HEADLINE}", ASGI, theirs)
    yield Verdict(claim, found, at_most=0.5)


def _cpu(rows: list[Row], load: str, ours: str, theirs: str, at_most: float) -> Verdict:
    ratios = _by_connections(rows, "cpu", ours, theirs)
    claim = f"{load}: {ours} CPU/request to {theirs}'s"
    measured = ratios.pop(HEADLINE)
    return Verdict(claim, measured, at_most=at_most, more=_also(ratios))


def _rate(
    rows: list[Row], load: str, ours: str, theirs: str, at_least: float
) -> Verdict:
    ratios = _by_connections(rows, "rps", ours, theirs)
    claim = f"{load}: {ours} requests/s to {theirs}'s"
    measured = ratios.pop(HEADLINE)
    by_cpu = ratio(rows, f"cpu@{HEADLINE}", theirs, ours)
    return Verdict(claim, measured, at_least=at_least, more=_also(ratios, by_cpu))


def _growth(rows: list[Row], direction: str) -> Iterator[Verdict]:
    for name in (ASGI, WSGI):
        claim = f"256 MiB {direction}: {name} peak RSS growth, MiB"
        yield Verdict(claim, value(rows, "growth", name, max), at_most=16.0)


def _by_connections(
    rows: list[Row], metric: str, ours: str, theirs: str
) -> dict[int, float | None]:
    return {
        count: ratio(rows, f"{metric}@{count}", ours, theirs) for count in CONNECTIONS
    }


def _also(ratios: dict[int, float | None], by_cpu: float | None = None) -> str:
    known = [f"{at}: {found:.2f}" for at, found in ratios.items() if found is not None]
    if by_cpu is not None:
        known.append(f"by CPU: {by_cpu:.2f}")
    return f"({HEADLINE} connections; {', '.join(known)})" if known else ""


_JUDGES: Final[dict[str, Callable[[list[Row]], Iterator[Verdict]]]] = {
    "asgi-get": _asgi_get,
    "wsgi-get": _wsgi_get,
    "sessions": _sessions,
    "bulkhead": _bulkhead,
    "download": _download,
    "upload": _upload,
    "events": _events,
    "websocket": _websocket,
}
