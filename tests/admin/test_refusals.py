"""Who and what is refused, and that the sentence says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, StoreUnavailable, Unauthenticated

from ..support.wire import chunked, connect
from .serving import ADMIN_API, KEY, UPSTREAM, Caller, Kind

ONE = "/services/bot/sessions/57af5437-97a2-4646-9873-a5c5935bd705"
REALM = 'Bearer realm="session-proxy-admin"'
INVALID = f'{REALM}, error="invalid_token"'
EVERY_PATH = ["/services", "/keys", "/openapi.json", "/nowhere", ONE + "/touch"]


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_without_an_admin_key_everything_is_the_same(
    call: Caller, method: str, path: str
) -> None:
    refused = call(method, path, key=None)
    sentence = "Unauthorized / token expired"
    assert refused.refusal == (401, "401", "unauthenticated", sentence)
    assert refused.headers["www-authenticate"] == REALM


@pytest.mark.parametrize(
    ("field", "challenge"),
    [
        (f"Bearer {KEY}x", INVALID),
        (f"Bearer {KEY[:-1]}", INVALID),
        ("Bearer ", INVALID),
        (f"Bearer {KEY}, Bearer {KEY}", INVALID),
        (f"Basic {KEY}", REALM),
        (KEY, REALM),
    ],
)
def test_a_wrong_key_is_refused(call: Caller, field: str, challenge: str) -> None:
    refused = call("GET", "/services", headers={"Authorization": field}, key=None)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == challenge


def test_a_cookie_or_a_query_is_no_credential(call: Caller) -> None:
    cookie = {"Cookie": f"key={KEY}; Authorization=Bearer {KEY}"}
    path = f"/services?key={KEY}&access_token={KEY}"
    assert call("GET", path, headers=cookie, key=None).status == 401


def test_two_authorization_fields_are_refused(call: Caller) -> None:
    with connect(("127.0.0.1", call.port)) as client:
        line = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
        client.send(b"GET /services HTTP/1.1\r\nHost: a\r\n" + 2 * line + b"\r\n")
        assert client.answer().status == 401


def test_a_public_key_opens_nothing_here(call: Caller, store: MemoryStore) -> None:
    assert call("GET", "/services", key=store.keys.create().secret).status == 401


def test_an_admin_key_that_is_a_public_key_opens_nothing_here(
    call: Caller, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    public = store.keys.create(secret=KEY)
    assert call("GET", "/services").status == 401
    assert "admin key portal is a public key, too" in caplog.text
    store.keys.revoke(public.id)
    assert call("GET", "/services").status == 200


def test_no_public_key_is_made_of_an_admin_key(
    call: Caller, store: MemoryStore
) -> None:
    refused = call("POST", "/keys", {"secret": KEY}).refusal
    assert refused[3] == "secret must not be an admin key"
    assert store.keys.list() == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/services", "GET, HEAD"),
        ("DELETE", "/keys", "GET, HEAD, POST"),
        ("PATCH", ONE, "DELETE, GET, HEAD, PUT"),
        ("GET", ONE + "/drain", "POST"),
        ("OPTIONS", "/openapi.json", "GET, HEAD"),
        ("TRACE", "/services/bot", "DELETE, GET, HEAD, PUT"),
    ],
)
def test_a_method_that_a_path_has_not_is_told_those_it_has(
    call: Caller, method: str, path: str, allow: str
) -> None:
    refused = call(method, path)
    assert refused.refusal[:3] == (405, "405", "method_not_allowed")
    assert refused.headers["allow"] == allow


@pytest.mark.parametrize(
    "path",
    ["/", "/nowhere", "/services/", ONE + "/", ONE + "/touch/", "/services//sessions"],
)
def test_a_path_that_is_none_is_not_found(call: Caller, path: str) -> None:
    assert call("GET", path).refusal == (404, "404", "not_found", "Not found")


BAD_BODIES: list[tuple[str, str, Any, str]] = [
    ("PUT", ONE, {}, "upstream is required: a text"),
    ("PUT", ONE, {"upstream": 7}, "upstream must be a text"),
    ("PUT", ONE, {"upstream": None}, "upstream must be a text"),
    ("PUT", ONE, {"upstream": "ftp://x"}, "upstream must look like "),
    ("PUT", ONE, {"upstream": "unix:///\ud800"}, "upstream must be a text"),
    ("PUT", ONE, {"upstream": "http://a@b"}, "upstream must not hold a user name"),
    ("PUT", ONE, {"upstream": UPSTREAM, "state": "ended"}, "state must be 'running'"),
    ("PUT", ONE, {"upstream": UPSTREAM, "state": ["running"]}, "state must be a text"),
    ("PUT", ONE, {"upstream": UPSTREAM, "ttl": 0}, "ttl must be a positive number"),
    ("PUT", ONE, {"upstream": UPSTREAM, "ttl": True}, "ttl must be a number"),
    ("PUT", ONE, {"upstream": UPSTREAM, "ttl": 10**400}, "ttl must be a number"),
    ("PUT", ONE, {"upstream": UPSTREAM, "ttl": "60"}, "ttl must be a number"),
    (
        "PUT",
        ONE,
        {"upsteam": UPSTREAM},
        "no member 'upsteam' is known here; known: upstream, state, ttl",
    ),
    ("POST", ONE + "/touch", {"ttl": -1}, "ttl must be a positive number"),
    ("POST", ONE + "/drain", {"now": True}, "no member 'now' is known here; known: no"),
    ("PUT", "/services/bot", {"ready": 1}, "ready must be true or false"),
    ("PUT", "/services/bot", {"ready": None}, "ready must be true or false"),
    ("PUT", "/services/b*t", {}, "a service's name must be one path segment"),
    ("PUT", "/services/..", {}, "a service's name must be one path segment"),
    ("PUT", "/services/a%0Ab", {}, "a service's name must be one path segment"),
    ("POST", "/keys", {"services": "bot"}, "services must be a list of texts"),
    ("POST", "/keys", {"services": []}, "services must be a list of names"),
    ("POST", "/keys", {"services": [""]}, "services must be a list of names"),
    ("POST", "/keys", {"services": [{}]}, "services must be a list of texts"),
    ("POST", "/keys", {"methods": ["BREW"]}, "methods must be among GET, POST"),
    ("POST", "/keys", {"paths": ["//"]}, "paths must start with one '/'"),
    ("POST", "/keys", {"expires_at": "soon"}, "expires_at must be a number, or null"),
    ("POST", "/keys/x/rotate", {"overlap": -1}, "overlap must be seconds from 0 up"),
    ("POST", "/keys", [], "the body must be a JSON object"),
    ("POST", "/keys", b"null", "the body must be a JSON object"),
    ("POST", "/keys", b"{", "the body is not JSON"),
    ("POST", "/keys", b"{}{}", "the body is not JSON"),
    ("POST", "/keys", b"\xff\xfe", "the body is not JSON"),
    ("POST", "/keys", b"[" * 60_000, "the body is not JSON"),
    ("POST", "/keys", b'{"expires_at": NaN}', "NaN is not JSON"),
    ("POST", "/keys", b'{"expires_at": 1e999}', "expires_at must be a number, or null"),
    ("POST", "/keys", b'{"expires_at": ' + b"9" * 5000 + b"}", "the body is not JSON"),
    (
        "POST",
        "/keys",
        b'{"services": ["a"], "services": ["*"]}',
        "a member stands twice in the body",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    BAD_BODIES,
    ids=[f"{index}-{each[3][:30]}" for index, each in enumerate(BAD_BODIES)],
)
def test_the_sentence_names_what_is_wrong_with_a_body(
    call: Caller, store: MemoryStore, method: str, path: str, body: Any, sentence: str
) -> None:
    headers = {"Content-Type": "application/json"}
    refused = call(method, path, body, headers)
    assert refused.refusal[:3] == (400, "SP-400-REQUEST", "invalid_request")
    assert refused.refusal[3].startswith(sentence)
    everything = store.services.list(), store.sessions.list(), store.keys.list()
    assert everything == ([], [], [])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/sessions?limit=0", "the parameter limit must be a whole number from 1 to "),
        ("/sessions?limit=1001", "the parameter limit must be a whole number"),
        ("/sessions?limit=%D9%A3", "the parameter limit must be a whole number"),
        ("/keys?limit=", "the parameter limit must be a whole number"),
        ("/sessions?state=gone", "the parameter state must be one of starting, runn"),
        ("/sessions?service=x", "no parameter 'service' is known; known: state, after"),
        ("/services?limit=1&limit=2", "the parameter limit stands twice"),
        ("/services/bot?dry=1", "no parameter 'dry' is known; known: none"),
        ("/sessions?" + 21 * "limit=1&", "the query has too many parameters"),
    ],
)
def test_the_sentence_names_what_is_wrong_with_a_query(
    call: Caller, path: str, sentence: str
) -> None:
    refused = call("GET", path)
    assert refused.refusal[:3] == (400, "SP-400-REQUEST", "invalid_request")
    assert refused.refusal[3].startswith(sentence)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None],
)
def test_a_body_that_is_not_declared_json_is_refused(
    call: Caller, store: MemoryStore, content_type: str | None
) -> None:
    """What a page of another site can make a browser send without asking."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    refused = call("POST", "/keys", b"{}", headers)
    assert refused.refusal[:3] == (415, "SP-415-TYPE", "unsupported_media_type")
    assert refused.headers["accept"] == "application/json"
    assert store.keys.list() == []


def test_json_may_be_declared_with_a_charset_and_in_any_case(call: Caller) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert call("POST", "/keys", b"{}", headers).status == 201


def body_of(size: int) -> bytes:
    filled = json.dumps({"upstream": UPSTREAM}).encode()
    return filled + b" " * (size - len(filled))


def test_a_body_of_64_kib_is_read_and_a_larger_one_is_not(call: Caller) -> None:
    headers = {"Content-Type": "application/json"}
    assert call("PUT", ONE, body_of(65_536), headers).status == 201
    for size in (65_537, 100_000):
        refused = call("PUT", ONE, body_of(size), headers)
        sentence = "Request body too large"
        assert refused.refusal == (413, "SP-413-BODY", "body_too_large", sentence)


@pytest.mark.parametrize(("size", "status"), [(65_536, 201), (65_537, 413)])
def test_so_is_one_that_comes_in_chunks(call: Caller, size: int, status: int) -> None:
    head = (
        f"PUT {ONE} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with connect(("127.0.0.1", call.port)) as client:
        client.send(head.encode() + chunked(body_of(size)))
        assert client.answer().status == status


def test_a_malformed_chunk_is_400_and_changes_nothing(
    call: Caller, store: MemoryStore
) -> None:
    """Of uvicorn's own making, or ours under WSGI."""
    with connect(("127.0.0.1", call.port)) as client:
        client.send(
            f"PUT {ONE} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            "nonsense\r\n".encode()
        )
        assert client.answer().status == 400
    assert store.sessions.list() == []


def test_no_preflight_is_granted_and_no_origin_allowed(call: Caller) -> None:
    origin = {"Origin": "https://evil.example"}
    asked = {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization",
    }
    # That there is no Access-Control field at all, `check` sees for every answer.
    assert call("OPTIONS", ONE, headers={**origin, **asked}, key=None).status == 401
    assert call("GET", "/services", headers=origin).status == 200


def test_head_is_get_without_the_body(call: Caller) -> None:
    got, head = call("GET", "/services"), call("HEAD", "/services")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    refused = call("HEAD", "/nowhere")
    assert (refused.status, refused.body) == (404, b"")


def test_the_request_id_is_the_callers_or_a_new_one(call: Caller) -> None:
    for status, path in [(200, "/services"), (404, "/nowhere")]:
        mine = call("GET", path, headers={"X-Request-Id": "mine-1"})
        assert (mine.status, mine.headers["x-request-id"]) == (status, "mine-1")
    ids = {
        call("GET", "/services", headers={"X-Request-Id": "no id"}).headers[
            "x-request-id"
        ]
        for _ in range(2)
    }
    assert len(ids) == 2 and "no id" not in ids


class Hook:
    """Knows one token, and fails for others in ways that differ."""

    def __call__(self, token: str) -> str | None:
        if token in ("alice", "line"):
            return token.replace("line", "line\nbreak")
        if token == "away":
            raise StoreUnavailable("the directory is away")
        if token == "refused":
            raise ConnectionRefusedError(token)
        if token == "expired":
            raise Unauthenticated("expired")
        if token == "number":
            return 7  # type: ignore[return-value]
        return None


async def aware(token: str) -> str | None:
    return Hook()(token)


@pytest.mark.parametrize("hook", [Hook(), aware], ids=["sync", "async"])
def test_a_hook_says_whose_token_it_is(
    kind: Kind, serve: Any, store: MemoryStore, hook: Any
) -> None:
    call = serve(ADMIN_API[kind](store, authenticate=hook))
    for token, status, slug in [
        ("alice", 200, None),
        ("bob", 401, "unauthenticated"),
        ("expired", 401, "unauthenticated"),
        ("away", 503, "store_unavailable"),
        ("refused", 503, "store_unavailable"),
        ("number", 500, "internal_error"),
        ("line", 500, "internal_error"),
        (None, 401, "unauthenticated"),
    ]:
        answer = call("GET", "/services", key=token)
        assert answer.status == status
        assert answer.headers.get("x-session-proxy-error") == slug
    assert call("GET", "/services", key="bob").headers["www-authenticate"] == INVALID


def test_a_bug_is_answered_with_500_and_told_to_the_log_alone(
    call: Caller, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    async def afail() -> None:
        fail()

    store.services.list = fail  # type: ignore[method-assign,assignment]
    store.services.alist = afail  # type: ignore[method-assign,assignment]
    refused = call("GET", "/services")
    assert refused.refusal[:3] == (500, "500", "internal_error")
    assert b"bug" not in refused.body
    assert "ZeroDivisionError: a bug" in caplog.text
