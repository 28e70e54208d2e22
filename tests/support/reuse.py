"""Sessions that end and start at random on few ports, under load."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator

from session_proxy_middleware.stores.managed import ManagedStore

from .bots import IDLE, Bots
from .servers import request
from .wire import Broken, Wire, connect

SERVICE = "bot"
CLIENTS = 8


class Churn:
    """Which session is where: in the store, and on the bots. Other processes serve,
    and learn of it when their cache's time is over."""

    def __init__(
        self, store: ManagedStore, bots: Bots, sessions: int, dice: random.Random
    ) -> None:
        self._store = store
        self._bots = bots
        self._dice = dice
        self._new = iter(
            [
                str(uuid.UUID(int=dice.getrandbits(128), version=4))
                for _ in range(sessions)
            ]
        )
        self._running: list[str] = []
        self.asked_for: deque[str] = deque(maxlen=2 * len(bots.urls))
        """Those that run, and as many that did a moment ago."""
        for index in range(len(bots.urls)):
            self._running.append(IDLE)
            self._start(index, next(self._new))

    def _start(self, index: int, id: str) -> None:
        steps: list[Callable[[], object]] = [
            lambda: self._bots.run(index, id),
            lambda: self._store.sessions.register(SERVICE, id, self._bots.urls[index]),
        ]
        self._dice.shuffle(steps)
        for step in steps:
            step()
        self._running[index] = id
        self.asked_for.append(id)

    def turn(self) -> bool:
        """A session ends and another one takes its place. Now and then it is one that
        runs already and moves. False when there are no more."""
        id = next(self._new, None)
        if id is None:
            return False
        index, other = self._dice.sample(range(len(self._running)), 2)
        self._end(index)
        if self._dice.random() < 0.25:
            moving = self._running[other]
            self._bots.run(other, None)
            self._start(index, moving)
            self._start(other, id)
        else:
            self._start(index, id)
        return True

    def _end(self, index: int) -> None:
        steps: list[Callable[[], object]] = [
            lambda: self._bots.run(index, None),
            lambda: self._store.sessions.end(SERVICE, self._running[index]),
        ]
        self._dice.shuffle(steps)
        for step in steps[self._dice.randrange(2) :]:
            step()
        self._store.sessions.end(SERVICE, self._running[index])


class Storm:
    """So many requests to sessions that run or ran, while they end and start."""

    def __init__(self, churn: Churn, address: tuple[str, int], secret: str) -> None:
        self._churn = churn
        self._address = address
        self._secret = secret
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(())
        self.answers: Counter[str] = Counter()
        """By what they are: `right`, `wrong`, `nobody`, `broken`, or a status and
        slug."""

    def run(self, requests: int, sessions: int) -> None:
        """All of them; the sessions are spread over their whole length."""
        self._numbers = iter(range(requests))
        every = max(1, requests // sessions)
        failures: list[BaseException] = []

        def client(seed: int) -> None:
            try:
                self._client(random.Random(seed), every)
            except BaseException as failure:
                failures.append(failure)
                self._numbers = iter(())

        threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _client(self, dice: random.Random, every: int) -> None:
        answers: Counter[str] = Counter()
        wire: Wire | None = None
        while True:
            with self._lock:
                number = next(self._numbers, None)
                if number is None:
                    break
                if number % every == every - 1:
                    self._churn.turn()
                id = dice.choice(self._churn.asked_for)
            wire = wire or connect(self._address)
            method = dice.choice(["GET", "GET", "POST"])
            body = b"{}" if method == "POST" else None
            path = f"/{SERVICE}/sessions/{id}/x"
            try:
                wire.send(request(method, path, body=body, key=self._secret))
                answer = wire.answer()
            except (Broken, OSError):
                answers["broken"] += 1
                wire.close()
                wire = None
                continue
            answers[_kind(answer.status, answer.body, id, answer.all(SLUG))] += 1
            if b"close" in answer.all("connection"):
                wire.close()
                wire = None
        if wire is not None:
            wire.close()
        with self._lock:
            self.answers += answers


SLUG = "x-session-proxy-error"


def _kind(status: int, body: bytes, id: str, slugs: list[bytes]) -> str:
    if status != 200:
        return f"{status} {b','.join(slugs).decode()}".strip()
    if body == IDLE.encode():
        return "nobody"
    return "right" if body == id.encode() else "wrong"
