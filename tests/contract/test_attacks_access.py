"""Who is allowed, and to do what: rules that were got around elsewhere."""

from __future__ import annotations

import uuid

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Upstream, answering, response
from .conftest import Serve

# Each has opened something somewhere, or says that somebody else has looked already.
SKELETON_KEYS = [
    (b"User-Agent", b"kube-probe/1.30"),
    (b"User-Agent", b"GoogleHC/1.0"),
    (b"User-Agent", b"ELB-HealthChecker/2.0"),
    *((b"X-" + name, b"true") for name in (b"Internal", b"Admin", b"Authenticated")),
    *(
        (b"X-" + name, b"127.0.0.1")
        for name in (b"Real-IP", b"Client-IP", b"Remote-IP")
    ),
    *((b"X-" + name, b"root") for name in (b"User", b"Remote-User", b"Auth-User")),
    *((b"X-Forwarded-" + name, b"root") for name in (b"User", b"Email", b"Groups")),
    *((b"X-Original-" + name, b"/status") for name in (b"URL", b"URI", b"Path")),
    *((b"X-Auth-" + name, b"pk_test") for name in (b"Token", b"Key", b"Request-User")),
    (b"X-Forwarded-For", b"127.0.0.1"),
    (b"X-Middleware-Subrequest", b"middleware:middleware:middleware"),
    (b"X-Session-Proxy-User", b"root"),
    (b"X-Daily-Session-Id", b"57af5437-97a2-4646-9873-a5c5935bd705"),
    (b"X-Api-Key", b"pk_test"),
    (b"Api-Key", b"pk_test"),
    (b"Apikey", b"pk_test"),
    (b"Proxy-Authorization", b"Bearer pk_test"),
    (b"X-Authorization", b"Bearer pk_test"),
    (b"X_Authorization", b"Bearer pk_test"),
    (b"Authorization-", b"Bearer pk_test"),
    (b"Cookie", b"Authorization=Bearer pk_test; key=pk_test"),
    (b"Remote-User", b"root"),
    (b"Remote_User", b"root"),
    (b"From", b"root@localhost"),
    (b"Origin", b"http://localhost"),
    (b"Referer", b"http://localhost/"),
    (b"Host", b"localhost"),
    (b"X-HTTP-Method-Override", b"OPTIONS"),
    (b"Access-Control-Request-Method", b"GET"),
    (b"Upgrade-Insecure-Requests", b"1"),
    (b"Purpose", b"prefetch"),
    (b"Sec-Fetch-Site", b"same-origin"),
    (b"Via", b"1.1 session-proxy"),
    (b"Forwarded", b"for=127.0.0.1;by=127.0.0.1"),
]


def test_no_field_stands_in_for_a_key(site: Site, upstream: Upstream) -> None:
    """GHSA-5hvv-m4w4-gf6v (oauth2-proxy): a User-Agent was let through;
    CVE-2025-29927 (Next.js): a field of the inside was believed from outside."""
    for name, value in SKELETON_KEYS:
        host = value if name == b"Host" else b"portal.test"
        fields = [] if name == b"Host" else [(name, value)]
        for method in ("GET", "OPTIONS"):
            answer = site.request(method, "/x", fields, key=None, host=host)
            check(answer, contract.NO_CREDENTIAL)
    assert upstream.connections == []


def test_no_query_or_fragment_and_no_slash_chooses_the_rule(
    site: Site, upstream: Upstream
) -> None:
    """GHSA-pxq7-h93f-9jrg, GHSA-7rh7-c77v-6434 (oauth2-proxy): rules were matched
    against query or fragment; CVE-2025-3454, CVE-2026-27880, CVE-2026-22641 (Grafana):
    one more slash, and a path was past its rule."""
    for path in (
        *("/secret?x=/status", "/secret?/status", "/secret%23/status", "//secret"),
        *("/secret%3F/status", "//secret//status", "/statuses", "/status%2F..%2Fx"),
        *("/secret;/status", "/secret%3B/status", "/%73ecret", "/./status"),
        *("/secret/status", "/Status", "/status%20", "/statu", "/", "/?/status"),
    ):
        answer = site.request("GET", path, key="pk_get")
        assert answer.status in (400, 403), (path, answer)
        assert answer.ours
    assert upstream.connections == []
    for path in ("/status", "/status/x", "/status?/secret", "/%73tatus"):
        assert site.request("GET", path, key="pk_get").status == 200


def test_a_key_for_one_service_opens_none_that_is_named_alike(
    portal: Portal, upstream: Upstream
) -> None:
    """CVE-2026-55602 (http-proxy-middleware): a part of the name was enough."""
    for service in ("others", "another", "an-other", "Other", "OTHER", "other.x", "o"):
        site = portal.mount(upstream, service=service)
        check(site.request(key="pk_other"), contract.SERVICE_NOT_FOUND)
    assert upstream.connections == []
    for service in ("other", "other-1"):
        site = portal.mount(upstream, service=service)
        assert site.request(key="pk_other").body == b"ok"


@pytest.mark.parametrize("name", [b"X-Which-Session", b"x-which-session"])
def test_the_proxys_own_field_is_there_once_whatever_its_case(
    portal: Portal, upstream: Upstream, name: bytes
) -> None:
    """CVE-2026-33433 (Traefik): a name configured in one case and sent in another made
    a second field, and it was the client's."""
    site = portal.mount(upstream, via="named", id=f"a-{uuid.uuid4().int % 10**9}")
    for spelling in (name, name.upper(), name.replace(b"-", b"_")):
        assert site.request("GET", "/x", [(spelling, b"evil")]).status == 200
        ours = [
            value
            for field, value in upstream.last.headers
            if field.lower().replace(b"_", b"-") == b"x-which-session"
        ]
        assert ours == [site.id.encode()]


def test_a_session_that_is_registered_anew_owes_nothing_to_the_old_one(
    portal: Portal, serve: Serve
) -> None:
    """CVE-2026-21725 (Grafana): what was made anew under the same name kept rights of
    the old. Here look-ups are remembered, and connections are pooled."""
    old = serve(answering(response(b"the old one")))
    site = portal.mount(old, via="v1")
    assert site.request().body == b"the old one"
    assert portal.control("end", service=site.service, id=site.id)
    check(site.request(), contract.SESSION_NOT_FOUND)
    new = serve(answering(response(b"the new one")))
    portal.mount(new, via="v1", id=site.id)
    assert site.request().body == b"the new one"
    assert len(old.requests) == 1
    # On the same address, too: a connection of the old one is not the new one's.
    portal.mount(new, via="v1", id=site.id)
    assert site.request().body == b"the new one"
    assert len(new.connections) == 2
