"""Preflights, grants, and options that cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from session_proxy_middleware import CORS, ConfigError
from session_proxy_middleware.exchange import exchange
from session_proxy_middleware.models import Headers, Reply
from tests.unit.crossing import passed_on, values
from tests.unit.test_exchange_order import Head, World
from tests.unit.values import HOST_FIELD, a_proxy, a_request, keyed

APP = b"https://app.example"
ALLOWED = CORS(allow_origins=["https://app.example", "http://localhost:5173"])
ANY = CORS(allow_origins=["*"])
ORIGIN = b"access-control-allow-origin"
EXPOSE = b"access-control-expose-headers"
OURS = b"X-Request-Id, X-Session-Proxy-Error"


def asked(
    cors: CORS | None,
    origin: bytes | None = APP,
    *fields: tuple[bytes, bytes],
    method: str = "OPTIONS",
    wanted: bytes | None = b"POST",
) -> tuple[World, Reply]:
    headers: Headers = [HOST_FIELD, *fields]
    if origin is not None:
        headers.append((b"origin", origin))
    if wanted is not None:
        headers.append((b"access-control-request-method", wanted))
    world = World()
    request = a_request(None, method=method, headers=headers, session_id=None)
    return world, world.run(request, a_proxy(cors=cors))


def test_a_preflight_is_answered_before_anything_is_asked() -> None:
    world, reply = asked(ALLOWED)
    assert world.asked == []
    assert (reply.status, reply.body) == (204, b"")
    headers = dict(reply.headers)
    assert headers.pop(b"x-request-id")
    assert headers == {
        ORIGIN: APP,
        b"access-control-allow-methods": b"GET, POST, PUT, PATCH, DELETE, OPTIONS, "
        b"HEAD",
        b"access-control-max-age": b"600",
        b"vary": b"Origin, Access-Control-Request-Method, "
        b"Access-Control-Request-Headers",
    }


def test_a_preflight_says_what_was_configured() -> None:
    cors = CORS(
        allow_origins=("https://app.example",),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "X-Turn"],
        allow_credentials=True,
        max_age=0,
    )
    _, reply = asked(cors, APP, (b"access-control-request-headers", b"x-other"))
    headers = dict(reply.headers)
    assert headers[b"access-control-allow-methods"] == b"GET, POST"
    assert headers[b"access-control-allow-headers"] == b"Authorization, X-Turn"
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert headers[b"access-control-max-age"] == b"0"


def test_headers_may_be_whatever_is_asked() -> None:
    fields = (b"access-control-request-headers", b"authorization,x-turn")
    _, reply = asked(ALLOWED, APP, fields)
    found = values(reply.headers, b"access-control-allow-headers")
    assert found == [b"authorization,x-turn"]


@pytest.mark.parametrize("names", [b"", b"a:b", b"a;b", b"\xe9", b"a" * 4097])
def test_what_are_no_header_names_is_not_said_back(names: bytes) -> None:
    _, reply = asked(ALLOWED, APP, (b"access-control-request-headers", names))
    assert values(reply.headers, b"access-control-allow-headers") == []


def test_no_headers_may_be_allowed() -> None:
    cors = CORS(allow_origins=["*"], allow_headers=[])
    _, reply = asked(cors, APP, (b"access-control-request-headers", b"x-turn"))
    assert values(reply.headers, b"access-control-allow-headers") == []
    assert values(reply.headers, ORIGIN) == [b"*"]


@pytest.mark.parametrize(
    "origin",
    [
        b"https://app.example.evil",
        b"https://evil.app.example",
        b"https://app.example:444",
        b"http://app.example",
        b"HTTPS://APP.EXAMPLE",
        b"https://app.example/",
        b"https://app.example, https://app.example",
        b"null",
        b"*",
        b"",
    ],
)
def test_an_origin_is_the_very_same_or_told_nothing(origin: bytes) -> None:
    _, reply = asked(ALLOWED, origin)
    assert reply.status == 204
    names = {name for name, _ in reply.headers}
    assert names == {b"vary", b"x-request-id"}
    headers = answered(ALLOWED, [(b"origin", origin)])
    assert values(headers, ORIGIN) == []
    assert values(headers, EXPOSE) == []
    assert values(headers, b"vary") == [b"Origin"]


def test_two_origins_are_none() -> None:
    _, reply = asked(ALLOWED, APP, (b"origin", APP))
    assert values(reply.headers, ORIGIN) == []


def test_access_to_a_private_network_is_not_granted() -> None:
    for name in (b"private", b"local"):
        asking = b"access-control-request-%b-network" % name
        _, reply = asked(ANY, APP, (asking, b"true"))
        assert not any(b"network" in each for each, _ in reply.headers)


@pytest.mark.parametrize(
    ("cors", "method", "origin", "wanted"),
    [
        (None, "OPTIONS", APP, b"POST"),
        (ALLOWED, "POST", APP, b"POST"),
        (ALLOWED, "OPTIONS", None, b"POST"),
        (ALLOWED, "OPTIONS", APP, None),
    ],
)
def test_any_other_request_needs_a_key(
    cors: CORS | None, method: str, origin: bytes | None, wanted: bytes | None
) -> None:
    _, reply = asked(cors, origin, method=method, wanted=wanted)
    assert reply.status == 401


def test_without_the_option_options_is_a_method_like_any_other() -> None:
    headers = keyed((b"origin", APP), (b"access-control-request-method", b"POST"))
    said = Head(200, [(ORIGIN, b"*"), (b"content-type", b"text/plain")])
    reply = World(RoundTrip=said).run(a_request(method="OPTIONS", headers=headers))
    assert reply.headers[:2] == said.headers


def answered(cors: CORS, fields: Headers, said: Headers | None = None) -> Headers:
    return passed_on(200, said or [], fields=fields, cors=cors).headers


def test_the_sessions_own_grants_are_replaced() -> None:
    said = [
        (ORIGIN, b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-anything-new", b"1"),
        (b"vary", b"Accept"),
    ]
    headers = answered(ALLOWED, [(b"origin", APP)], said)
    found = {name: value for name, value in headers if name.startswith(b"access-")}
    assert found == {ORIGIN: APP, EXPOSE: OURS}
    assert values(headers, b"vary") == [b"Accept", b"Origin"]
    assert values(answered(ALLOWED, [], said), ORIGIN) == []


def test_credentials_and_exposed_names_are_granted_with_the_answer() -> None:
    cors = CORS(
        allow_origins=["https://app.example"],
        expose_headers=["X-Turn", "X-Request-Id"],
        allow_credentials=True,
    )
    headers = dict(answered(cors, [(b"origin", APP)]))
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert headers[EXPOSE] == OURS + b", X-Turn"


def test_any_origin_is_answered_alike_whoever_asks() -> None:
    for fields in ([], [(b"origin", b"null")], [(b"origin", APP)]):
        headers = answered(ANY, fields)
        assert values(headers, ORIGIN) == [b"*"]
        assert values(headers, EXPOSE) == [OURS]
        assert values(headers, b"vary") == []


def test_the_proxys_own_errors_can_be_read_by_the_page() -> None:
    headers = [HOST_FIELD, (b"origin", APP)]
    reply = World().run(a_request(headers=headers), a_proxy(cors=ALLOWED))
    assert reply.status == 401
    assert values(reply.headers, ORIGIN) == [APP]
    assert values(reply.headers, EXPOSE) == [OURS]
    again = World().run(a_request(headers=headers), a_proxy(cors=ALLOWED))
    assert values(again.headers, ORIGIN) == [APP]


def test_a_preflight_is_recorded_as_the_proxys_own_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "session_proxy.access"):
        asked(ALLOWED)
    [record] = caplog.records
    assert record.__dict__["answered_by"] == "proxy"
    assert record.__dict__["end_reason"] == "completed"
    assert record.__dict__["status"] == 204


def test_a_preflight_that_is_given_up_is_recorded_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields = [(b"origin", APP), (b"access-control-request-method", b"POST")]
    request = a_request(method="OPTIONS", headers=fields)
    with caplog.at_level("INFO", "session_proxy.access"):
        flow = exchange(request, a_proxy(cors=ALLOWED))
        next(flow)
        flow.close()
    assert caplog.records[0].__dict__["end_reason"] == "cancelled"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"allow_origins": "*"}, "allow_origins"),
        ({"allow_origins": None}, "allow_origins"),
        ({"allow_origins": []}, "at least one origin"),
        ({"allow_origins": ["app.example"]}, "allow_origins"),
        ({"allow_origins": ["https://app.example/"]}, "allow_origins"),
        ({"allow_origins": ["https://*.example"]}, "allow_origins"),
        ({"allow_origins": ["https://APP.example"]}, "allow_origins"),
        ({"allow_origins": ["https://a.example:0"]}, "allow_origins"),
        ({"allow_origins": ["https://a.example\n"]}, "allow_origins"),
        ({"allow_origins": ["null"]}, "allow_origins"),
        ({"allow_origins": [b"https://a.example"]}, "allow_origins"),
        ({"allow_origins": ["https://a.example:443"]}, "default port"),
        ({"allow_origins": ["http://[::1]:80"]}, "write 'http://\\[::1\\]'"),
        ({"allow_origins": ["*", "https://a.example"]}, "'\\*' stands alone"),
        ({"allow_methods": "GET"}, "allow_methods"),
        ({"allow_methods": []}, "one method"),
        ({"allow_methods": ["TRACE"]}, "allow_methods"),
        ({"allow_methods": ["get"]}, "allow_methods"),
        ({"allow_headers": "*"}, "allow_headers"),
        ({"allow_headers": ["a b"]}, "allow_headers"),
        ({"allow_headers": ["*", "a"]}, "'\\*' stands alone"),
        ({"expose_headers": ["a,b"]}, "expose_headers"),
        ({"allow_credentials": 1}, "allow_credentials"),
        ({"allow_credentials": True}, "by name"),
        (
            {
                "allow_origins": ["https://a.example"],
                "allow_credentials": True,
                "expose_headers": ["*"],
            },
            "by name",
        ),
        ({"max_age": -1}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": True}, "max_age"),
    ],
)
def test_an_option_that_cannot_work_is_refused(
    options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"CORS.*{named}"):
        CORS(**{"allow_origins": ["*"], **options})


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:5173",
        "https://app.example",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://a.example:80",
        "app://bundle",
    ],
)
def test_an_origin_as_browsers_write_it_is_taken(origin: str) -> None:
    assert CORS(allow_origins=[origin]).allow_origins == (origin,)


def test_the_proxy_takes_cors_as_that_alone() -> None:
    with pytest.raises(ConfigError, match="cors must be CORS"):
        a_proxy(cors=["https://app.example"])
