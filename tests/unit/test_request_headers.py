"""Which fields of a request reach the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError, Limits
from session_proxy_middleware.exchange import FindKey, exchange
from session_proxy_middleware.models import Headers, Request
from session_proxy_middleware.rules.credential import digest
from session_proxy_middleware.rules.headers import HeaderRules
from tests.unit.crossing import refused, sent, sent_headers, values
from tests.unit.test_exchange_order import World
from tests.unit.values import (
    HOST_FIELD,
    ID,
    KEY_FIELD,
    a_proxy,
    a_request,
    a_session,
    keyed,
)

HOP_BY_HOP = [
    b"connection",
    b"http2-settings",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
]
OURS = {
    b"x-request-id",
    b"x-daily-session-id",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-prefix",
}
TOKENS = st.text("abcXYZ019-_.!", min_size=1, max_size=12).map(str.encode)
NAMES = st.one_of(
    TOKENS.map(bytes.lower),
    st.sampled_from([*HOP_BY_HOP, *OURS, b"expect", b"cookie", b"forwarded", b"via"]),
)
VALUES = (
    st.binary(max_size=20)
    .map(lambda data: bytes(byte for byte in data if byte > 31 and byte != 127))
    .filter(lambda value: value.strip().lower() != b"websocket")
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(FIELDS, st.lists(NAMES, max_size=4))
def test_no_field_of_this_hop_and_none_it_names_survives(
    fields: Headers, named: list[bytes]
) -> None:
    lines = [(b"connection", b" , ".join(named)), (b"connection", b"close")]
    headers = sent_headers(*fields, *lines)
    names = {name for name, _ in headers}
    assert not names & set(HOP_BY_HOP)
    assert not names & {b"expect", b"authorization", b"content-length"}
    assert not names & (set(named) - OURS - {b"host", b"via"})


@given(FIELDS)
def test_all_other_fields_keep_their_order_and_duplicates(fields: Headers) -> None:
    plain = [(b"z-" + name, value) for name, value in fields]
    headers = sent_headers(*plain)
    assert [each for each in headers if each[0].startswith(b"z-")] == plain


@given(FIELDS, st.lists(st.sampled_from(sorted(OURS)), max_size=3))
def test_the_proxys_own_fields_are_there_exactly_once(
    fields: Headers, named: list[bytes]
) -> None:
    headers = sent_headers(*fields, (b"connection", b",".join(named)))
    for name in OURS | {b"host"}:
        assert len(values(headers, name)) == 1, name
    assert values(headers, b"x-daily-session-id") == [ID.encode()]
    assert values(headers, b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(headers, b"host") == [b"10.0.3.7:8080"]
    assert (b"via", b"1.1 session-proxy") in headers


def test_a_plain_request_gains_nothing_but_the_proxys_own_fields() -> None:
    names = {name for name, _ in sent_headers()}
    assert names == OURS | {b"host", b"via"}


@pytest.mark.parametrize(
    "name",
    [
        b"x_daily_session_id",
        b"x-daily_session-id",
        b"x-daily-room-token",
        b"x_daily_room_token",
        b"x-session-proxy-error",
        b"x_session_proxy_anything",
        b"x_forwarded_for",
        b"x-forwarded_host",
        b"x_request_id",
        b"content_length",
        b"transfer_encoding",
        b"X_Daily_Session_Id",
    ],
)
def test_an_alias_of_a_platform_field_does_not_reach_the_session(name: bytes) -> None:
    headers = sent_headers((name, b"evil"), (b"x-ok", b"1"))
    assert b"evil" not in {value for _, value in headers}
    assert values(headers, b"x-ok") == [b"1"]


def test_an_underscore_in_any_other_field_is_left_alone() -> None:
    assert values(sent_headers((b"my_field", b"1")), b"my_field") == [b"1"]


def test_the_name_of_the_session_id_field_is_an_option_and_protected_too() -> None:
    headers = sent_headers(
        (b"x-bot-session", b"evil"),
        (b"x_bot_session", b"evil"),
        session_id_header="X-Bot-Session",
    )
    assert values(headers, b"x-bot-session") == [ID.encode()]
    assert b"evil" not in {value for _, value in headers}
    assert values(headers, b"x-daily-session-id") == []


@pytest.mark.parametrize("name", ["", "x y", "x:y", "x\n", 3, "x_y"])
def test_a_session_id_header_that_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="session_id_header"):
        a_proxy(session_id_header=name)


@pytest.mark.parametrize("name", [b"bad name", b"", b"x:y", b"x\n", b"caf\xe9", b"(x)"])
def test_a_field_name_that_is_no_token_is_malformed(name: bytes) -> None:
    request = a_request(headers=keyed((name, b"v")))
    assert refused(request) == (400, "malformed_headers")


@pytest.mark.parametrize("hosts", [[b"a", b"b"], [b"a, b"], [b"a", b"a"]])
def test_more_than_one_host_is_malformed(hosts: list[bytes]) -> None:
    headers = [*((b"host", host) for host in hosts), KEY_FIELD]
    assert refused(a_request(headers=headers)) == (400, "malformed_headers")


@pytest.mark.parametrize("name", [b"x-a", b"authorization", b"keep-alive", b"cookie"])
def test_a_control_in_any_value_is_refused(name: bytes) -> None:
    """RFC 9110 §5.5."""
    for byte in (*range(0x20), 0x7F):
        request = a_request(headers=[*keyed(), (name, b"a%cb" % byte)])
        if byte != 0x09:
            assert refused(request) == (400, "malformed_headers"), byte
    assert sent_headers((b"x-a", b"a\tb \x80\xff"))


def test_a_request_without_a_host_tells_the_session_of_none() -> None:
    headers = sent(a_request(headers=[KEY_FIELD])).headers
    assert values(headers, b"x-forwarded-host") == []
    assert values(headers, b"host") == [b"10.0.3.7:8080"]


def test_too_many_and_too_large_fields_are_told_apart_from_nothing() -> None:
    proxy = a_proxy(limits=Limits(header_fields=5, header_bytes=100))
    many = a_request(headers=[(b"x", b"y")] * 6)
    large = a_request(headers=[(b"x", b"y" * 100)])
    fits = a_request(headers=[(b"x", b"y" * 99)])
    assert refused(many, proxy) == (431, "headers_too_large")
    assert refused(large, proxy) == (431, "headers_too_large")
    assert refused(fits, proxy) == (401, "unauthenticated")


def test_more_names_than_are_remembered_are_still_told_apart() -> None:
    proxy = a_proxy()
    for number in range(45):
        names = [b"x-%d-%d" % (number, each) for each in range(100)]
        sent(a_request(headers=keyed(*((name, b"") for name in names))), proxy)
    headers = sent(
        a_request(headers=keyed((b"x-daily-new", b"evil"), (b"x-new", b"1"))), proxy
    ).headers
    assert values(headers, b"x-daily-new") == []
    assert values(headers, b"x-new") == [b"1"]


FRAMINGS: list[tuple[Headers, str, tuple[bool, int | None]]] = [
    ([], "1.1", (False, None)),
    ([], "1.0", (False, None)),
    ([], "2", (True, None)),
    ([], "3", (True, None)),
    ([(b"content-length", b"0")], "1.1", (False, 0)),
    ([(b"content-length", b"12")], "1.1", (True, 12)),
    ([(b"content-length", b"12")], "2", (True, 12)),
    ([(b"transfer-encoding", b"chunked")], "1.1", (True, None)),
    ([(b"transfer-encoding", b"Chunked")], "1.1", (True, None)),
]


@pytest.mark.parametrize(("fields", "version", "framing"), FRAMINGS)
def test_a_body_is_framed_as_the_client_framed_it(
    fields: Headers, version: str, framing: tuple[bool, int | None]
) -> None:
    outbound = sent(a_request(headers=keyed(*fields), http_version=version))
    assert (outbound.has_body, outbound.length) == framing


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET", "DELETE"])
def test_a_method_that_expects_a_body_says_when_there_is_none(method: str) -> None:
    outbound = sent(a_request(method=method))
    expected = 0 if method in ("POST", "PUT", "PATCH") else None
    assert (outbound.has_body, outbound.length) == (False, expected)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ([(b"content-length", b"1"), (b"content-length", b"2")], "1.1"),
        ([(b"content-length", b"1"), (b"content-length", b"1")], "1.1"),
        ([(b"content-length", b"1, 1")], "1.1"),
        ([(b"content-length", b"+1")], "1.1"),
        ([(b"content-length", b"-1")], "1.1"),
        ([(b"content-length", b"")], "1.1"),
        ([(b"content-length", b"1" * 20)], "1.1"),
        ([(b"content-length", b"0x10")], "1.1"),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"1")], "1.1"),
        ([(b"transfer-encoding", b"chunked")] * 2, "1.1"),
        ([(b"transfer-encoding", b"chunked, identity")], "1.1"),
        ([(b"transfer-encoding", b"gzip, chunked")], "1.1"),
        ([(b"transfer-encoding", b"xchunked")], "1.1"),
        ([(b"transfer-encoding", b"chunked")], "1.0"),
        ([(b"transfer-encoding", b"chunked")], "2"),
    ],
)
def test_framing_that_two_servers_could_read_differently_is_malformed(
    fields: Headers, version: str
) -> None:
    request = a_request(headers=keyed(*fields), http_version=version)
    assert refused(request) == (400, "malformed_headers")


@pytest.mark.parametrize("value", [b"websocket", b"WebSocket", b" websocket "])
def test_a_websocket_handshake_is_told_apart(value: bytes) -> None:
    request = a_request(headers=keyed((b"upgrade", value), (b"connection", b"upgrade")))
    assert refused(request) == (501, "websocket_unsupported")


def test_any_other_upgrade_is_dropped() -> None:
    assert values(sent_headers((b"upgrade", b"h2c")), b"upgrade") == []


def test_a_client_of_unknown_address_is_not_invented() -> None:
    headers = sent(a_request(client=None)).headers
    assert values(headers, b"x-forwarded-for") == []


def test_what_the_session_is_told_of_the_client_comes_from_the_server() -> None:
    headers = sent(a_request(headers=[HOST_FIELD, KEY_FIELD])).headers
    assert values(headers, b"x-forwarded-proto") == [b"https"]
    assert values(headers, b"x-forwarded-host") == [b"public.example"]
    assert values(headers, b"x-forwarded-prefix") == [b"/bot/sessions/" + ID.encode()]


def test_a_scheme_that_is_no_https_is_told_as_it_is() -> None:
    request = a_request()
    request.scheme = "wss"
    assert values(sent(request).headers, b"x-forwarded-proto") == [b"wss"]


THEIRS = [
    (b"x-forwarded-for", b"198.51.100.1"),
    (b"x-forwarded-for", b"198.51.100.2"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-prefix", b"/front/"),
    (b"x-forwarded-port", b"8443"),
    (b"forwarded", b"for=198.51.100.1"),
]


def test_append_keeps_and_extends_what_a_front_proxy_said() -> None:
    headers = sent_headers(*THEIRS, forwarded="append")
    public = b"/bot/sessions/" + ID.encode()
    expected = {
        b"x-forwarded-for": b"198.51.100.1, 198.51.100.2, 192.0.2.7",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"public.example",
        b"x-forwarded-prefix": b"/front" + public,
        b"x-forwarded-port": b"8443",
        b"forwarded": b"for=198.51.100.1, "
        b'for=192.0.2.7;proto=https;host="public.example"',
    }
    for name, value in expected.items():
        assert values(headers, name) == [value]


@pytest.mark.parametrize("said", ["192.0.2.7", "198.51.100.1,192.0.2.7"])
def test_append_says_a_client_once_that_the_server_took_from_the_field(
    said: str,
) -> None:
    headers = sent_headers((b"x-forwarded-for", said.encode()), forwarded="append")
    assert values(headers, b"x-forwarded-for") == [said.encode()]


@pytest.mark.parametrize(
    ("client", "node"),
    [(None, b"for=unknown"), ("2001:db8::1", b'for="[2001:db8::1]"')],
)
def test_append_spells_a_forwarded_element_as_rfc_7239_does(
    client: str | None, node: bytes
) -> None:
    request = a_request(headers=[KEY_FIELD, (b"forwarded", b"for=a")], client=client)
    headers = sent(request, a_proxy(forwarded="append")).headers
    assert values(headers, b"forwarded") == [b"for=a, " + node + b";proto=https"]


def test_append_without_a_front_proxy_says_what_set_says() -> None:
    assert values(sent_headers(forwarded="append"), b"x-forwarded-for") == [
        b"192.0.2.7"
    ]


def test_set_drops_what_the_client_says_of_itself() -> None:
    headers = sent_headers(*THEIRS)
    assert values(headers, b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(headers, b"x-forwarded-port") == []
    assert values(headers, b"forwarded") == []


def test_off_tells_nothing_at_all() -> None:
    headers = sent_headers(*THEIRS, forwarded="off")
    assert not [name for name, _ in headers if b"forwarded" in name]


def test_a_forwarded_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="forwarded must be one of set, append, off"):
        a_proxy(forwarded="on")


@pytest.mark.parametrize(
    ("sent_id", "kept"),
    [(b"a-1._:~+/=@", True), (b"", False), (b"a b", False), (b"x" * 201, False)],
)
def test_a_request_id_is_kept_when_it_is_fit_to_pass_on(
    sent_id: bytes, kept: bool
) -> None:
    [found] = values(sent_headers((b"x-request-id", sent_id)), b"x-request-id")
    assert (found == sent_id) is kept


def test_two_request_ids_are_replaced_by_one() -> None:
    fields = ((b"x-request-id", b"a"), (b"x-request-id", b"b"))
    [found] = values(sent_headers(*fields), b"x-request-id")
    assert found not in (b"a", b"b")


def test_append_invents_no_forwarded_element_where_a_front_proxy_sent_none() -> None:
    headers = sent_headers((b"x-forwarded-for", b"198.51.100.1"), forwarded="append")
    assert values(headers, b"x-forwarded-for") == [b"198.51.100.1, 192.0.2.7"]
    assert values(headers, b"forwarded") == []


def a_header_rules() -> HeaderRules:
    return HeaderRules(
        platform=b"x-daily-session-id",
        max_fields=200,
        max_bytes=65_536,
        cookies="isolate",
    )


def with_cookie(value: bytes) -> Request:
    return a_request(headers=keyed((b"cookie", value)))


def test_equal_fields_are_told_apart_once() -> None:
    rules = a_header_rules()
    first = rules.sift(with_cookie(b"a=1"))
    assert rules.sift(with_cookie(b"a=1")) is first
    assert rules.sift(with_cookie(b"a=2")) is not first
    reordered = a_request(headers=keyed((b"cookie", b"a=1"))[::-1])
    assert rules.sift(reordered) is not first


def test_what_is_remembered_of_requests_is_bounded() -> None:
    rules = a_header_rules()
    large = rules.sift(with_cookie(b"a" * 4096))
    assert rules.sift(with_cookie(b"a" * 4096)) is not large
    first = rules.sift(with_cookie(b"first"))
    for number in range(1024):
        rules.sift(with_cookie(b"%d" % number))
    assert rules.sift(with_cookie(b"first")) is not first


def test_fields_that_a_server_gives_as_lists_are_fields() -> None:
    pairs = keyed((b"x-a", b"1"))
    lists: Headers = [list(pair) for pair in pairs]  # type: ignore[misc]
    outbound = sent(a_request(headers=lists))
    assert (b"x-a", b"1") in outbound.headers


def test_equal_fields_of_another_client_or_session_are_sent_as_its_own() -> None:
    proxy = a_proxy()
    here, there = a_session("http://10.0.3.7:8080"), a_session("http://10.0.3.8:8080")
    for client, session in [("192.0.2.1", here), ("192.0.2.2", here), (None, there)]:
        headers = sent(a_request(client=client), proxy, session).headers
        assert headers[0] == session.host_field
        addresses = [client.encode()] if client else []
        assert values(headers, b"x-forwarded-for") == addresses


def test_equal_fields_with_two_secrets_are_two_credentials() -> None:
    proxy = a_proxy()
    for secret in (b"one", b"two", b"one"):
        request = a_request(headers=[(b"authorization", b"Bearer " + secret)])
        world = World()
        flow = exchange(request, proxy)
        world.until_reply(flow)
        flow.close()
        assert world.steps[0] == FindKey(digest(secret))
