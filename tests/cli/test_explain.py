"""`explain` tells what becomes of a request, by the rules that a gateway goes by."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_proxy_middleware import SessionProxy, open_store
from session_proxy_middleware.cli import main
from session_proxy_middleware.cli.rehearsal import rehearse, request_to
from session_proxy_middleware.rules import cookies

from ..support.servers import request
from ..support.upstream import Upstream, answering
from .running import SESSION, UPSTREAM, Command, Gateway, cells, path

Put = Callable[[str, str], None]
Explain = Callable[..., dict[str, Any]]


def test_what_it_tells_is_what_the_session_gets(command: Command) -> None:
    store = command.store()
    target = path(rest="/a%2Fb;c?x=%20&x")
    with Upstream(answering()) as upstream:
        session = store.sessions.register("bot", SESSION, f"{upstream.url}/base")
        secret = str(store.keys.create().secret)
        fields = [
            (b"Accept", b"*/*"),
            (b"accept", b"text/html"),
            (b"Connection", b"keep-alive, X-Hop"),
            (b"X-Hop", b"1"),
            (b"X-Daily-Session-Id", b"forged"),
            (b"x_forwarded_for", b"forged"),
            (b"X-Forwarded-For", b"192.0.2.1"),
            (b"Forwarded", b"for=192.0.2.1"),
            (b"Via", b"1.1 edge"),
            (b"X-Request-Id", b"mine"),
            (b"Expect", b"100-continue"),
            (b"Cookie", b"portal=1; %bsid=2" % cookies.mark(session)),
        ]
        options = ("--forwarded", "append", "--prefix", "/v1/public")
        url = f"http://portal.test/v1/public{target}"
        body = b"hello"
        lines = [b": ".join(each) for each in fields]
        lines += [b"Authorization: Bearer %b" % secret.encode(), b"Content-Length: 5"]
        told = command.one(
            *("explain", "POST", url, "-H", "@-", *options), given=b"\n".join(lines)
        )
        assert upstream.connections == []
        with Gateway(command, *options) as gateway:
            sent = request("POST", f"/v1/public{target}", fields, key=secret, body=body)
            assert gateway.ask(sent).status == 200
        got = upstream.last
    store.close()
    assert told["outcome"] == "forwarded"
    assert (told["origin"], told["method"]) == (upstream.url, "POST")
    assert told["target"].encode() == got.target == b"/base/a%2Fb;c?x=%20&x"
    came = [(each["name"], each["what"]) for each in told["headers"]]
    came = [(name, what) for name, what in came if what != "added"]
    wanted = [name.lower().decode() for name, _ in fields]
    assert [name for name, _ in came][1:13] == wanted
    hidden = {b"cookie": b"\xe2\x80\xa6"}
    seen = sorted((name, hidden.get(name, value)) for name, value in got.headers)
    assert seen == sorted(
        (each["name"].encode(), each["value"].encode())
        for each in told["headers"]
        if each["what"] != "dropped"
    )
    assert all(each["why"] for each in told["headers"])


@pytest.fixture
def explain(
    capsys: pytest.CaptureFixture[str], without_settings: Put, tmp_path: Path
) -> Explain:
    """Explain a request to a store that holds some of everything."""
    url = f"sqlite:///{tmp_path}/store.db"
    store = open_store(url)
    store.services.put("held", ready=False)
    store.services.put("other")
    store.sessions.register("bot", SESSION, f"{UPSTREAM}/base")
    store.sessions.register("bot", _id(1), UPSTREAM)
    store.sessions.end("bot", _id(1))
    store.sessions.register("bot", _id(2), UPSTREAM)
    store.sessions.drain("bot", _id(2))
    store.sessions.register("bot", _id(3), UPSTREAM, state="starting")
    store.sessions.register("bot", _id(4), "http://169.254.169.254")
    keys = {
        "all": store.keys.create(),
        "some": store.keys.create(services=["bot"], methods=["GET"], paths=["/x"]),
        "expired": store.keys.create(expires_at=1e9),
        "revoked": store.keys.create(),
    }
    store.keys.revoke(keys["revoked"].id)
    store.close()
    without_settings("STORE", url)

    def run(method: str, url: str, *options: str, key: str | None = "all") -> Any:
        if key is not None:
            without_settings("KEY", str(keys[key].secret))
        status = main(["explain", method, url, *options, "--json"])
        said = capsys.readouterr()
        assert said.err == ""
        found = json.loads(said.out)
        assert status == (0 if found["outcome"] == "forwarded" else 1)
        assert not any(str(each.secret) in said.out for each in keys.values())
        return found

    return run


def _id(number: int) -> str:
    return f"{SESSION[:-1]}{number}"


WELL = path()


@pytest.mark.parametrize(
    ("method", "url", "options", "key", "slug", "reason", "hint"),
    [
        ("GET", WELL, (), None, "unauthenticated", "no Authorization", "_KEY"),
        ("GET", WELL, (), "revoked", "unauthenticated", "is revoked", "_KEY"),
        (
            *("GET", WELL, (), "expired", "unauthenticated"),
            *("is not good now, but from - to 2001-09-09T01:46:40Z", "_KEY"),
        ),
        (
            *("GET", path(service="no"), (), "all", "service_not_found"),
            *("no such service", "services create no"),
        ),
        (
            *("GET", path(service="other"), (), "some", "service_not_found"),
            *("outside the key's services", "another key"),
        ),
        (
            *("GET", path(service="held"), (), "all", "service_not_ready"),
            *("not ready", "services ready held"),
        ),
        (
            *("GET", path(_id(9)), (), "all", "session_not_found"),
            *("the store has no such session", f"create bot UPSTREAM --id {_id(9)}"),
        ),
        ("GET", path(_id(1)), (), "all", "session_not_found", "it ended at 20", "id"),
        ("GET", path("x"), (), "all", "session_not_found", "not the shape", "--id ID"),
        ("GET", path(_id(2)), (), "all", "draining", "no new requests", None),
        (
            *("GET", path(_id(3)), (), "all", "session_starting"),
            *("not become ready yet", f"sessions ready bot {_id(3)}"),
        ),
        ("POST", WELL, (), "some", "forbidden", "the key's methods", "this method"),
        ("GET", path(rest="/y"), (), "some", "forbidden", "the key's paths", "path"),
        ("POST", path(rest="/bot"), (), "all", "reserved_path", "platform", "reserved"),
        ("TRACE", WELL, (), "all", "method_not_allowed", "TRACE", None),
        ("GET", path(rest="/../x"), (), "all", "malformed_path", "dot segment", None),
        (
            *("GET", WELL, ("--limits-header-fields", "1"), "all"),
            *("headers_too_large", "2 fields", "--limits-header-fields"),
        ),
        (
            *("POST", WELL, ("-H", "Content-Length: 9", "--limits-body", "8"), "all"),
            *("body_too_large", "9", "--limits-body"),
        ),
        (
            *("GET", path(_id(4)), (), "all", "upstream_unreachable"),
            *("169.254.0.0/16", "--allowed-networks"),
        ),
        ("GET", WELL, ("-H", "x: a\nb"), "all", "malformed_headers", "control", None),
        (
            *("GET", WELL, ("-H", "Via: 1.1 session-proxy, 1.1 session-proxy"), "all"),
            *("loop_detected", "2 times", None),
        ),
    ],
)
def test_a_refusal_has_its_slug_the_reason_and_what_to_do(
    explain: Explain,
    method: str,
    url: str,
    options: tuple[str, ...],
    key: str | None,
    slug: str,
    reason: str,
    hint: str | None,
) -> None:
    found = explain(method, url, *options, key=key)
    assert (found["outcome"], found["slug"]) == ("refused", slug)
    assert reason in found["reason"]
    assert hint is None if found["hint"] is None else hint in found["hint"]
    assert "headers" not in found


def test_a_session_that_would_be_waited_for_is_not_probed(explain: Explain) -> None:
    found = explain("GET", path(_id(3)), "--pipecat")
    assert found["slug"] == "session_starting"
    assert found["held"] == {"seconds": 10.0, "path": "/readyz"}


def test_what_the_store_said_on_the_way_is_told(explain: Explain) -> None:
    found = explain("GET", WELL, key="some")
    assert found["route"] == {"service": "bot", "session_id": SESSION, "path": "/x"}
    assert (found["key"]["services"], found["key"]["methods"]) == (["bot"], ["GET"])
    assert "digest" not in found["key"] and "secret" not in found["key"]
    assert found["service"] == {"name": "bot", "ready": True}
    assert found["session"]["upstream"] == f"{UPSTREAM}/base"


def test_a_path_that_is_no_sessions_is_told_apart(explain: Explain) -> None:
    assert explain("GET", "/elsewhere")["outcome"] == "not_a_session"
    assert explain("GET", "https://h")["outcome"] == "not_a_session"
    assert explain("GET", WELL, "--prefix", "/v1")["outcome"] == "not_a_session"


def test_a_preflight_is_answered_by_the_proxy(explain: Explain) -> None:
    origin = "https://app.example"
    found = explain(
        *("OPTIONS", WELL, "--cors-allow-origins", origin),
        *("-H", f"Origin: {origin}", "-H", "Access-Control-Request-Method: GET"),
        key=None,
    )
    assert (found["outcome"], found["status"]) == ("answered", 204)


def test_a_url_is_taken_as_a_client_sends_it(explain: Explain) -> None:
    url = f"https://h.example:8443{path(rest='/ü%2F?q=ü#fragment')}"
    found = explain("GET", url)
    assert found["target"] == "/base/%C3%BC%2F?q=%C3%BC"
    added = {each["name"]: each["value"] for each in found["headers"]}
    assert added["x-forwarded-host"] == "h.example:8443"
    assert added["x-forwarded-proto"] == "https"
    no_path = explain("GET", f"https://h.example?{path()}")
    assert no_path["outcome"] == "not_a_session"


def test_two_credentials_are_put_to_the_proxy_as_they_are(
    explain: Explain, tmp_path: Path
) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer a\n\nauthorization: b\n")
    found = explain("GET", WELL, "-H", f"@{tmp_path}/headers", key=None)
    assert "more than one Authorization" in found["reason"]
    (tmp_path / "key").write_text("pk_of_nobody\n")
    found = explain("GET", WELL, "--key-file", f"{tmp_path}/key")
    assert "never made" in found["reason"]


def test_people_read_it_as_lines(on_file: Command) -> None:
    store = on_file.store()
    store.sessions.register("bot", SESSION, UPSTREAM)
    secret = str(store.keys.create().secret)
    store.close()
    key = {"SESSION_PROXY_KEY": secret}
    said = on_file.ok("explain", "GET", path(), "-H", "TE: x", environment=key)
    lines = cells(said)
    starts = [line[0].split(" ")[0] for line in lines[:5]]
    assert starts == ["route", "key", "service", "session", "request"]
    assert ["dropped", "te: x", "belongs to this hop (RFC 9110 §7.6.1)"] in lines
    assert any(line[:2] == ["dropped", "authorization: …"] for line in lines)
    assert said.endswith("\noutcome  forwarded\n")
    assert secret not in said
    store.sessions.register("bot", SESSION, UPSTREAM, state="starting")
    held = on_file("explain", "GET", path(), "--ready-wait", "3", environment=key)
    assert "held     for up to 3 s, until an answer of it says that" in held.out
    store.sessions.ready("bot", SESSION)
    store.close()
    networks = ("--allowed-networks", "10.0.0.0/8")
    done = on_file("explain", "GET", path(), *networks, environment=key)
    # What a server would log is said here alone.
    assert done.err == "" and "in none of allowed_networks" in done.out
    refused = on_file("explain", "GET", path())
    assert refused.status == 1 and refused.err == ""
    assert cells(refused.out)[1:] == [
        ["outcome", "refused with 401 unauthenticated (Unauthorized / token expired)"],
        ["why", "no Authorization field"],
        ["try", "give a key with SESSION_PROXY_KEY or --key-file"],
    ]


def test_a_rehearsal_uses_nothing_and_holds_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.sessions.register("bot", SESSION, UPSTREAM)
    bearer = f"Bearer {store.keys.create().secret}".encode()
    proxy = SessionProxy(store)
    headers = [(b"authorization", bearer)]
    asked = request_to("GET", path(), headers, "127.0.0.1", proxy)
    assert asked is not None
    before = set(threading.enumerate())
    assert rehearse(asked, proxy).outbound is not None
    assert proxy.limiter.in_flight == 0
    # Nobody is there to write when the key was last used.
    assert set(threading.enumerate()) <= before
    store.close()
