"""What a guard lets through and what it refuses, as both kinds of application."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware.guard import SessionGuard

MINE = "57af5437-97a2-4646-9873-a5c5935bd705"
OTHER = "11111111-1111-4111-8111-111111111111"
HEADER = "X-Daily-Session-Id"
REFUSAL = b'{"error": "Another session is running here", "code": "421"}'

Answer = tuple[int, dict[str, str], bytes]


class Bot:
    """The application behind the guard: says that it was reached, and may wait."""

    def __init__(self) -> None:
        self.reached = 0
        self.entered = threading.Semaphore(0)
        self.leave: threading.Event | None = None

    def enter(self) -> None:
        leave = self.leave
        self.reached += 1
        self.entered.release()
        if leave is not None:
            assert leave.wait(10)


class Kind:
    """One kind of application and how it is called: by hand, as a server would."""

    name: str

    def guard(self, bot: Bot, *arguments: Any, **options: Any) -> SessionGuard:
        raise NotImplementedError

    def ask(
        self, guard: SessionGuard, *ids: str, path: str = "/x", method: str = "GET"
    ) -> Answer:
        raise NotImplementedError


class ASGI(Kind):
    name = "asgi"

    def guard(self, bot: Bot, *arguments: Any, **options: Any) -> SessionGuard:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.to_thread(bot.enter)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"mine"})

        return SessionGuard(app, *arguments, **options)

    def ask(
        self, guard: SessionGuard, *ids: str, path: str = "/x", method: str = "GET"
    ) -> Answer:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        name = HEADER.lower().encode()
        scope = {
            "type": "http",
            "method": method,
            "path": f"/mounted{path}",
            "root_path": "/mounted",
            "headers": [(b"host", b"bot"), *((name, id.encode()) for id in ids)],
        }
        asyncio.run(guard(scope, receive, send))
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return sent[0]["status"], headers, sent[1]["body"]


class WSGI(Kind):
    name = "wsgi"

    def guard(self, bot: Bot, *arguments: Any, **options: Any) -> SessionGuard:
        def app(environ: Any, start_response: Any) -> Any:
            bot.enter()
            start_response("200 OK", [])
            return [b"mine"]

        return SessionGuard(app, *arguments, **options)

    def ask(
        self, guard: SessionGuard, *ids: str, path: str = "/x", method: str = "GET"
    ) -> Answer:
        started: list[Any] = []
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "/mounted",
            "PATH_INFO": path,
        }
        if ids:
            environ["HTTP_X_DAILY_SESSION_ID"] = ",".join(ids)  # As servers join them.
        body = guard(environ, lambda status, headers: started.append((status, headers)))
        data = b"".join(body)
        close: Callable[[], None] = getattr(body, "close", lambda: None)
        close()
        status, headers = started[0]
        return int(status.split()[0]), dict(headers), data


@pytest.fixture(params=[ASGI, WSGI], ids=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param()
    return made


@pytest.fixture
def bot() -> Bot:
    return Bot()


def test_a_request_for_another_session_is_refused_before_the_bot_sees_it(
    kind: Kind, bot: Bot
) -> None:
    guard = kind.guard(bot, MINE)
    status, headers, body = kind.ask(guard, OTHER)
    assert (status, body) == (421, REFUSAL)
    assert headers == {
        "content-type": "application/json",
        "content-length": str(len(REFUSAL)),
        "cache-control": "no-store",
        "x-session-proxy-guard": OTHER,
    }
    assert bot.reached == 0
    assert kind.ask(guard, MINE)[0] == 200
    assert bot.reached == 1


def test_case_does_not_matter_in_a_uuid_and_does_in_other_ids(
    kind: Kind, bot: Bot
) -> None:
    guard = kind.guard(bot, MINE.upper())
    assert [kind.ask(guard, each)[0] for each in (MINE, MINE.upper())] == [200, 200]
    named = kind.guard(bot, "Bot-1")
    assert [kind.ask(named, each)[0] for each in ("Bot-1", "bot-1")] == [200, 421]


def test_a_request_without_the_field_is_not_the_proxys_and_passes(
    kind: Kind, bot: Bot
) -> None:
    for session_id in (MINE, None):
        assert kind.ask(kind.guard(bot, session_id))[0] == 200


@pytest.mark.parametrize("ids", [(MINE, OTHER), (OTHER, MINE), ("",)])
def test_a_field_that_names_anything_else_is_refused(
    kind: Kind, bot: Bot, ids: tuple[str, ...]
) -> None:
    assert kind.ask(kind.guard(bot, MINE), *ids)[0] == 421
    assert bot.reached == 0


def test_which_session_runs_may_be_set_asked_for_and_be_several(
    kind: Kind, bot: Bot
) -> None:
    guard = kind.guard(bot)
    assert kind.ask(guard, MINE)[0] == 421
    guard.session_id = MINE
    assert kind.ask(guard, MINE)[0] == 200
    guard.session_id = None
    assert kind.ask(guard, MINE)[0] == 421

    running: list[Any] = [None]
    asked = kind.guard(bot, lambda: running[0])
    for told, mine, other in (
        (None, 421, 421),
        (MINE, 200, 421),
        ({MINE, OTHER}, 200, 200),
        ([OTHER], 421, 200),
        ((), 421, 421),
    ):
        running[0] = told
        assert [kind.ask(asked, each)[0] for each in (MINE, OTHER)] == [mine, other]


def test_what_says_no_session_lets_nobody_through(kind: Kind, bot: Bot) -> None:
    def broken() -> Any:
        return 3

    with pytest.raises(TypeError, match="session_id"):
        kind.ask(kind.guard(bot, broken), MINE)
    assert bot.reached == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_refusal_of_a_head_has_no_body_under_wsgi(bot: Bot, method: str) -> None:
    """Under ASGI servers leave it out themselves."""
    guard = WSGI().guard(bot, MINE)
    _, headers, body = WSGI().ask(guard, OTHER, method=method)
    assert headers["content-length"] == str(len(REFUSAL))
    assert body == (REFUSAL if method == "GET" else b"")


def test_the_field_may_have_another_name(kind: Kind, bot: Bot) -> None:
    guard = kind.guard(bot, MINE, session_id_header="X-Which-Session")
    assert kind.ask(guard, OTHER)[0] == 200
    named = kind.guard(bot, MINE, session_id_header="x-daily-session-ID")
    assert kind.ask(named, OTHER)[0] == 421


def begin(
    kind: Kind, guard: SessionGuard, bot: Bot, id: str
) -> tuple[threading.Thread, list[Answer]]:
    """A session that begins with a request, and runs as long as that takes."""
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(kind.ask(guard, id, path="/bot", method="POST"))
    )
    bot.leave = threading.Event()
    bot.entered = threading.Semaphore(0)
    thread.start()
    assert bot.entered.acquire(timeout=10)
    return thread, answers


def test_a_session_that_begins_with_a_request_runs_until_that_is_over(
    kind: Kind, bot: Bot
) -> None:
    guard = kind.guard(bot, begins_with=["/bot", "/ws"])
    assert kind.ask(guard, MINE)[0] == 421
    for id, other in ((MINE, OTHER), (OTHER, MINE)):  # Instances are used again.
        thread, answers = begin(kind, guard, bot, id.upper())
        leave, bot.leave = bot.leave, None
        assert kind.ask(guard, id)[0] == 200
        assert kind.ask(guard, other)[0] == 421
        assert kind.ask(guard, other, path="/bot")[0] == 421
        # Another request that begins it ends nothing when it is over.
        assert kind.ask(guard, id, path="/ws")[0] == 200
        assert kind.ask(guard, id)[0] == 200
        assert leave is not None
        leave.set()
        thread.join(10)
        assert [status for status, *_ in answers] == [200]
        assert kind.ask(guard, id)[0] == 421


def test_a_session_whose_beginning_fails_does_not_run(kind: Kind, bot: Bot) -> None:
    guard = kind.guard(bot, begins_with=["/bot"])
    bot.leave = threading.Event()
    bot.leave.wait = lambda timeout=None: False  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        kind.ask(guard, MINE, path="/bot")
    bot.leave = None
    assert kind.ask(guard, MINE)[0] == 421


def test_a_request_that_names_no_session_or_several_begins_none(
    kind: Kind, bot: Bot
) -> None:
    guard = kind.guard(bot, begins_with=["/bot"])
    assert kind.ask(guard, path="/bot")[0] == 200
    assert kind.ask(guard, MINE, OTHER, path="/bot")[0] == 421
    assert kind.ask(guard, MINE)[0] == 421


def test_where_a_session_is_told_another_cannot_begin(kind: Kind, bot: Bot) -> None:
    guard = kind.guard(bot, MINE, begins_with=["/bot"])
    assert kind.ask(guard, OTHER, path="/bot")[0] == 421
    assert kind.ask(guard, MINE, path="/bot")[0] == 200


def test_for_pipecat_follows_its_two_ways_to_begin(kind: Kind, bot: Bot) -> None:
    guard = SessionGuard.for_pipecat(kind.guard(bot, MINE)._app)
    for path in ("/bot", "/ws"):
        assert kind.ask(guard, OTHER, path=path)[0] == 200
    assert kind.ask(guard, OTHER, path="/api/offer")[0] == 421


async def say(session_id: str) -> str:
    return session_id


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        (("app",), {}, "app"),
        ((print, 3), {}, "session_id"),
        ((print, b"id"), {}, "session_id"),
        ((print, [1]), {}, "session_id"),
        ((print, say), {}, "session_id"),
        ((print,), {"begins_with": "/bot"}, "begins_with"),
        ((print,), {"begins_with": ["bot"]}, "begins_with"),
        ((print,), {"begins_with": [3]}, "begins_with"),
    ],
)
def test_a_wrong_option_is_refused_when_it_is_built(
    arguments: Any, options: Any, named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        SessionGuard(*arguments, **options)


def test_a_class_of_ones_own_is_what_it_is_built_as(kind: Kind, bot: Bot) -> None:
    class Own(SessionGuard):
        pass

    guard = Own(kind.guard(bot, MINE)._app, MINE)
    assert type(guard) is Own
    assert [kind.ask(guard, each)[0] for each in (MINE, OTHER)] == [200, 421]


def test_what_is_neither_http_nor_a_websocket_is_the_applications() -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        return

    scope = {"type": "lifespan"}
    asyncio.run(SessionGuard(app, MINE)(scope, receive, send))
    assert seen == [(scope, receive, send)]


def test_an_asgi_application_that_is_no_coroutine_function_is_called_like_one(
    bot: Bot,
) -> None:
    """Servers must be told that it is ASGI's; called as that, it is."""
    inner = ASGI().guard(bot, MINE)

    def plain(scope: Any, receive: Any, send: Any) -> Any:
        return inner(scope, receive, send)

    assert ASGI().ask(SessionGuard(plain, MINE), MINE)[0] == 200
    assert ASGI().ask(SessionGuard(plain, OTHER), MINE)[0] == 421
