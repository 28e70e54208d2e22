"""The order of the checks, and what an unauthenticated request may cause: nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ..support import contract
from ..support.contract import Row, check
from ..support.servers import Portal, request, without_volatile
from ..support.wire import Broken, Fields
from .conftest import Serve
from .test_table import UNKNOWN

MANY: Fields = [(b"X-%d" % number, b"y") for number in range(60)]
LARGE: Fields = [(b"Content-Length", b"100001")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A request to `/small` that is wrong in two ways; `row` is the earlier one's."""

    row: Row
    method: str = "GET"
    service: str = "my-agent"
    session: str | None = None
    path: str = "/x"
    key: str | None = "pk_test"
    fields: Fields | None = None


PAIRS = {
    "method before header limits": Wrong(
        row=contract.METHOD_NOT_ALLOWED, method="TRACE", fields=MANY
    ),
    "method before authentication": Wrong(
        row=contract.METHOD_NOT_ALLOWED, method="TRACE", key=None
    ),
    "header limits before authentication": Wrong(
        row=contract.HEADERS_TOO_LARGE, fields=MANY, key=None
    ),
    "authentication before service": Wrong(
        row=contract.NO_CREDENTIAL, service="nobody", key=None
    ),
    "a wrong key before service": Wrong(
        row=contract.WRONG_CREDENTIAL, service="nobody", key="pk_wrong"
    ),
    "authentication before readiness": Wrong(
        row=contract.NO_CREDENTIAL, service="unready", key=None
    ),
    "authentication before a failing registry": Wrong(
        row=contract.NO_CREDENTIAL, service="svc-down", key=None
    ),
    "a service's scope before readiness": Wrong(
        row=contract.SERVICE_NOT_FOUND, service="unready", key="pk_other"
    ),
    "a service's scope before a failing registry": Wrong(
        row=contract.SERVICE_NOT_FOUND, service="svc-down", key="pk_other"
    ),
    "service before session": Wrong(
        row=contract.SERVICE_NOT_FOUND, service="nobody", session="malformed"
    ),
    "readiness before session": Wrong(
        row=contract.NOT_READY, service="unready", session="malformed"
    ),
    "session before path": Wrong(
        row=contract.SESSION_NOT_FOUND, session=UNKNOWN, path="/../x"
    ),
    "a malformed session before path": Wrong(
        row=contract.SESSION_NOT_FOUND, session="malformed", path="/%2e%2e/x"
    ),
    "path before the key's method scope": Wrong(
        row=contract.MALFORMED_PATH, method="DELETE", path="/%2e/x", key="pk_get"
    ),
    "the key's path scope before a reserved path": Wrong(
        row=contract.FORBIDDEN, method="POST", path="/bot", key="pk_get"
    ),
    "a reserved path before limits": Wrong(
        row=contract.RESERVED_PATH, method="POST", path="/bot", fields=LARGE
    ),
    "the key's scope before limits": Wrong(
        row=contract.FORBIDDEN, method="POST", path="/x", key="pk_get", fields=LARGE
    ),
    "authentication before limits": Wrong(
        row=contract.NO_CREDENTIAL, method="POST", key=None, fields=LARGE
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_of_two_faults_the_earlier_check_answers(
    portal: Portal, serve: Serve, name: str
) -> None:
    wrong = PAIRS[name]
    upstream = serve()
    site = portal.mount(upstream, via="small")
    session = wrong.session or site.id
    target = f"/small/{wrong.service}/sessions/{session}{wrong.path}"
    raw = request(wrong.method, target, wrong.fields, key=wrong.key)
    check(portal.exchange(raw), wrong.row, to=wrong.method)
    assert upstream.connections == []


def test_limits_come_before_connecting(portal: Portal) -> None:
    dead = portal.mount("http://127.0.0.1:9", via="small")
    head = dead.raw("POST", "/x", LARGE)
    check(portal.exchange(head), contract.BODY_TOO_LARGE)
    check(dead.request("POST", "/x", body=b"x"), contract.UNREACHABLE)


def test_draining_comes_after_every_check_of_the_request(portal: Portal) -> None:
    for target, key, row in [
        (f"/drained/my-agent/sessions/{UNKNOWN}/", None, contract.NO_CREDENTIAL),
        (f"/drained/nobody/sessions/{UNKNOWN}/", "pk_test", contract.SERVICE_NOT_FOUND),
        (f"/drained/unready/sessions/{UNKNOWN}/", "pk_test", contract.NOT_READY),
    ]:
        check(portal.request("GET", target, key=key), row)


@pytest.mark.parametrize("key", [None, "pk_wrong", "pk_expired"])
@pytest.mark.parametrize("service", ["my-agent", "nobody", "unready"])
def test_without_authentication_no_registry_is_asked_and_nobody_is_called(
    portal: Portal, serve: Serve, key: str | None, service: str
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    portal.control("asked")
    target = f"/{service}/sessions/{site.id}/x"
    answer = portal.request("POST", target, body=b"{}", key=key)
    assert answer.status == 401
    assert portal.control("asked") == ([] if key is None else ["key"])
    assert upstream.connections == []


def test_without_authentication_nothing_about_a_service_is_revealed(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    targets = [
        f"{site.public}/x",
        f"{site.public}/../x",
        f"{site.public}/bot",
        f"/my-agent/sessions/{UNKNOWN}/x",
        "/my-agent/sessions/malformed/x",
        f"/nobody/sessions/{UNKNOWN}/x",
        f"/unready/sessions/{UNKNOWN}/x",
        f"/svc-down/sessions/{UNKNOWN}/x",
    ]
    for key in (None, "pk_wrong"):
        answers = {
            without_volatile(portal.request("GET", target, key=key))
            for target in targets
        }
        assert len(answers) == 1


def test_an_unknown_service_and_one_out_of_scope_are_the_same_bytes(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    for method in ("GET", "HEAD", "POST"):
        out_of_scope = site.request(method, "/x", key="pk_other")
        path = f"/nobody/sessions/{site.id}/x"
        unknown = portal.request(method, path, key="pk_other")
        known_to_all = portal.request(method, path)
        check(unknown, contract.SERVICE_NOT_FOUND, to=method)
        assert without_volatile(out_of_scope) == without_volatile(unknown)
        assert without_volatile(known_to_all) == without_volatile(unknown)


def test_malformed_unknown_and_ended_sessions_are_the_same_bytes(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    assert site.request().status == 200
    portal.control("end", service=site.service, id=site.id)
    for method in ("GET", "HEAD", "POST"):
        answers = {
            without_volatile(portal.request(method, f"/{site.service}/sessions/{id}/x"))
            for id in (site.id, UNKNOWN, "malformed", "%2e%2e", "*", "a" * 5000)
        }
        assert len(answers) == 1


def test_a_malformed_id_never_reaches_the_registry(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    portal.control("asked")
    for id in ("malformed", site.id + "x", f"{site.id}%00", "%2e%2e", "' OR 1=1"):
        target = f"/{site.service}/sessions/{id.replace(' ', '%20')}/x"
        check(portal.request("GET", target), contract.SESSION_NOT_FOUND)
    assert not [call for call in portal.control("asked") if "session" in call]


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("key", "path"),
    [(None, "/x"), ("pk_wrong", "/x"), ("pk_other", "/x"), ("pk_test", "/bot")],
)
def test_a_refusal_asks_for_no_byte_of_the_body(
    portal: Portal, serve: Serve, key: str | None, path: str
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    fields = [(b"Content-Length", b"1000000"), (b"Expect", b"100-continue")]
    with portal.connect() as client:
        client.send(site.raw("POST", path, fields, key=key))
        answer = client.answer()
    assert answer.status in (401, 404)
    assert answer.ours
    assert tuple(answer.interim) == portal.expected.interim
    assert upstream.connections == []


def test_a_refusal_comes_while_the_client_holds_its_body_back(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    for framing in (
        (b"Content-Length", b"1000000"),
        (b"Transfer-Encoding", b"chunked"),
    ):
        with portal.connect() as client:
            client.send(site.raw("POST", "/x", [framing], key=None))
            check(client.answer(), contract.NO_CREDENTIAL)


@pytest.mark.everywhere
def test_an_admitted_upload_is_asked_for(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    fields = [(b"Content-Length", b"5"), (b"Expect", b"100-continue")]
    with portal.connect() as client:
        client.send(site.raw("POST", "/x", fields))
        assert client.head().status == 100
        client.send(b"hello")
        assert client.answer().status == 200
    assert upstream.last.body == b"hello"
    assert not upstream.last.has("expect")


def test_a_body_is_not_asked_for_when_the_session_cannot_be_reached(
    portal: Portal,
) -> None:
    site = portal.mount("http://127.0.0.1:9")
    fields = [(b"Content-Length", b"1000000"), (b"Expect", b"100-continue")]
    with portal.connect() as client:
        client.send(site.raw("POST", "/x", fields))
        answer = client.response_head()
    assert answer.status == 502
    assert tuple(answer.interim) == portal.expected.interim


def test_the_next_request_after_a_refused_upload_is_parsed_cleanly(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    smuggled = site.raw("GET", "/smuggled")
    with portal.connect() as client:
        client.send(site.raw("POST", "/x", body=smuggled, key=None))
        check(client.answer(), contract.NO_CREDENTIAL)
        client.send(site.raw("GET", "/next"))
        try:
            assert client.answer().status == 200
        except (OSError, Broken):
            assert upstream.requests == []
            return
    assert [message.target for message in upstream.requests] == [b"/next"]
