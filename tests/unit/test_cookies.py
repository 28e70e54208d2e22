"""Cookies of sessions, as the browser keeps them and as they come back."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError, Session
from session_proxy_middleware.models import Headers, Origin, Route
from session_proxy_middleware.rules.cookies import isolated, mark, restored
from tests.unit.crossing import passed_on, sent_headers, values
from tests.unit.values import ID, a_proxy, a_request, a_session, keyed

SESSION = a_session()
MARK = mark(SESSION)
PUBLIC = b"/bot/sessions/" + ID.encode()
OTHER = Session(
    id="11111111-97a2-4646-9873-a5c5935bd705",
    service="bot",
    origin=SESSION.origin,
    base_path=b"",
    epoch=1,
)
REST = b"; Priority=Low"


def given_out(
    value: bytes,
    session: Session = SESSION,
    *,
    target: bytes | None = b"/chat",
    public: bytes = PUBLIC,
) -> bytes | None:
    return isolated(value, session, Route("bot", ID, target, public))


def path_of(value: bytes, url: str = "http://10.0.3.7:8080", **at: bytes) -> bytes:
    out = given_out(value, a_session(url), **at)
    assert out is not None
    return out.split(b"; Path=")[1].split(b";")[0]


def named(service: str, id: str) -> Session:
    origin = Origin(scheme="http", host="a", port=80, authority=b"a")
    return Session(id=id, service=service, origin=origin, base_path=b"", epoch=1)


def test_a_cookie_gets_a_name_and_a_path_of_its_session_and_loses_its_domain() -> None:
    out = given_out(b"sid=x y; Domain=.corp.example; Path=/")
    assert out == MARK + b"sid=x y; Path=" + PUBLIC + b"/" + REST


def test_the_name_tells_the_session_and_not_its_address() -> None:
    assert mark(a_session("http://other:1")) == MARK
    assert len(MARK) == len(b"sp_") + 22 + 1


def test_no_two_sessions_cookies_have_names_alike() -> None:
    sessions = [
        named("bot", "1"),
        named("bot", "2"),
        named("bot2", "1"),
        named("bot/1", "2"),
        named("bot", "1/2"),
        named("b", "ot1"),
    ]
    assert len({mark(each) for each in sessions}) == len(sessions)


@pytest.mark.parametrize(
    "attribute",
    [
        b"Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        b"Max-Age=0",
        b"max-age=-1",
        b"Secure",
        b"HttpOnly",
        b"SameSite=None",
        b"sAmEsItE=Strict",
        b"Partitioned",
    ],
)
def test_what_a_cookie_says_of_its_life_and_use_is_kept(attribute: bytes) -> None:
    out = given_out(b"sid=1;" + attribute + b" ; Path=/")
    assert out == MARK + b"sid=1; Path=" + PUBLIC + b"/; " + attribute + REST


def test_repeated_attributes_stay_in_order_for_the_browser_to_choose() -> None:
    out = given_out(b"sid=1; Expires=x; Max-Age=1; Expires=y; Path=/a; Path=/")
    assert out is not None
    assert out.endswith(PUBLIC + b"/; Expires=x; Max-Age=1; Expires=y" + REST)


@pytest.mark.parametrize(
    "attribute", [b"Domain=portal.example", b"DOMAIN", b"Priority=High", b"Future=1"]
)
def test_any_other_attribute_is_left_out(attribute: bytes) -> None:
    assert given_out(b"sid=1;" + attribute) == given_out(b"sid=1")


def test_an_attribute_too_long_for_browsers_is_none() -> None:
    assert given_out(b"sid=1; Path=/" + b"a" * 1024) == given_out(b"sid=1")


@pytest.mark.parametrize(
    ("said", "target", "expected"),
    [
        (b"Path=/", b"/a/b/c", b"/"),
        (b"Path=/app", b"/chat", b"/app"),
        (b"Path=/app/", b"/chat", b"/app/"),
        (b"Path=/../../admin", b"/chat", b"/../../admin"),
        (b"Path=" + PUBLIC, b"/chat", b"/"),
        (b"Path=" + PUBLIC + b"/", b"/chat", b"/"),
        (b"Path=" + PUBLIC + b"/app", b"/chat", b"/app"),
        (b"Path=" + PUBLIC + b"2", b"/chat", PUBLIC + b"2"),
        (b"", b"/chat", b"/"),
        (b"", b"/a/b/login", b"/a/b"),
        (b"", b"/a/", b"/a"),
        (b"Path", b"/a/b", b"/a"),
        (b"Path=app", b"/a/b", b"/a"),
        (b"Path=/x; Path=", b"/a/b", b"/a"),
        (b"", b"/a;b/c", b"/"),
        (b"", None, b"/"),
    ],
)
def test_a_path_is_one_below_the_sessions_own(
    said: bytes, target: bytes | None, expected: bytes
) -> None:
    out = given_out(b"sid=1; " + said, target=target)
    assert out == MARK + b"sid=1; Path=" + PUBLIC + expected + REST


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", b"/"),
        (b"/base", b"/"),
        (b"/base/", b"/"),
        (b"/base/in", b"/"),
        (b"/base/in/", b"/"),
        (b"/base/in/app", b"/app"),
        (PUBLIC + b"/app", b"/app"),
    ],
)
def test_a_path_inside_the_sessions_base_is_mapped(
    path: bytes, expected: bytes
) -> None:
    found = path_of(b"sid=1; Path=" + path, "http://10.0.3.7/base/in")
    assert found == PUBLIC + expected


@pytest.mark.parametrize("path", [b"/other", b"/basement", b"/base/inside"])
def test_a_cookie_for_a_path_that_the_session_does_not_answer_is_left_out(
    path: bytes,
) -> None:
    session = a_session("http://10.0.3.7/base/in")
    assert given_out(b"sid=1; Path=" + path, session) is None


@pytest.mark.parametrize("public", [b"/a;Domain=x/sessions/1", b"/a\x01/sessions/1"])
def test_a_public_path_cannot_inject_an_attribute(public: bytes) -> None:
    assert given_out(b"sid=1", public=public) is None


@pytest.mark.parametrize(
    "value",
    [b"", b"=", b"; Path=/", b" = ;", *(b"a=b%cc" % byte for byte in (0, 10, 13, 127))],
)
def test_what_browsers_keep_no_cookie_of_is_left_out(value: bytes) -> None:
    assert given_out(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"sid", b"=sid"),
        (b"=sid", b"=sid"),
        (b"=a=b", b"=a=b"),
        (b"sid=", b"sid="),
        # A comma is a server's, which joined two fields: those of values are spelled
        # so that none is left, and come back as they were.
        (b'sid="a b, c"', b'sid="a b%2C c"'),
        (b"sid=100%2C", b"sid=100%252C"),
        (b" sid = a=b ", b"sid=a=b"),
        (b"caf\xe9=\xff\t1", b"caf\xe9=\xff\t1"),
    ],
)
def test_name_and_value_are_kept_as_they_are(value: bytes, expected: bytes) -> None:
    out = given_out(value)
    assert out == MARK + expected + b"; Path=" + PUBLIC + b"/" + REST


KEPT_PROMISES = [
    b"__Secure-a=1; Secure",
    b"__secure-a=1; Secure; Domain=x; Path=/y",
    b"__Host-a=1; Secure; Path=/",
    b"__Host-a=1; Secure; Path=/x; Path=/; Domain=",
    b"__Http-a=1; Secure; HttpOnly",
    b"__Host-Http-a=1; Secure; HttpOnly; Path=/",
]
BROKEN_PROMISES = [
    b"__Secure-a=1",
    b"__SECURE-a=1; HttpOnly",
    b"__Host-a=1; Path=/",
    b"__Host-a=1; Secure",
    b"__HoSt-a=1; Secure; Path=/x",
    b"__Host-a=1; Secure; Path=/; Domain=x",
    b"__Http-a=1; Secure",
    b"__Host-Http-a=1; Secure; Path=/",
    b"=__Secure-a=1; Secure",
    b"__Host-a; Secure; Path=/",
]


@pytest.mark.parametrize("value", KEPT_PROMISES)
def test_a_promising_name_comes_back_where_the_promise_was_kept(value: bytes) -> None:
    out = given_out(value)
    assert out is not None
    assert out.startswith(b"__Secure-" + MARK)
    assert b"; Secure" in out
    assert restored([out.split(b";")[0]], SESSION) == value.split(b";")[0]


@pytest.mark.parametrize("value", BROKEN_PROMISES)
def test_a_promising_name_is_left_out_where_the_promise_is_not(value: bytes) -> None:
    assert given_out(value) is None


@pytest.mark.parametrize(
    "forged",
    [
        MARK + b"__Host-a=1",
        MARK + b"__secure-a=1",
        MARK + b"=__Host-a=1",
        b"__Secure-" + MARK + b"a=1",
        b"__Secure-" + MARK + b"=__Host",
    ],
)
def test_a_promising_name_is_believed_only_where_the_browser_was_held_to_it(
    forged: bytes,
) -> None:
    assert restored([forged], SESSION) == b""


@pytest.mark.parametrize(
    "value",
    [
        b"login=secret",
        b"sid=1",
        b"sp_sid=1",
        MARK.lower() + b"sid=1" if MARK.lower() != MARK else b"x=1",
        MARK[:-1] + b"-sid=1",
        b"x" + MARK + b"sid=1",
        mark(OTHER) + b"sid=1",
        b"__Host-" + MARK + b"sid=1",
        MARK[:-1],
        b"",
        b";;=;",
    ],
)
def test_no_cookie_of_the_portals_or_of_another_session_comes_in(value: bytes) -> None:
    assert restored([value], SESSION) == b""


def test_a_forged_name_is_the_tail_of_a_name_of_ones_own() -> None:
    for forged in (mark(OTHER) + b"sid", b"login", b"__Secure" + mark(OTHER)):
        out = given_out(forged + b"=evil")
        assert out is not None
        cookie = out.split(b";")[0]
        assert cookie.startswith(MARK)
        assert restored([cookie], OTHER) == b""
        assert restored([cookie], SESSION) == forged + b"=evil"


def test_several_fields_and_duplicates_come_in_as_they_were_sent() -> None:
    fields = [
        b"login=1;" + MARK + b"a=1; " + MARK + b"b=x=y",
        mark(OTHER) + b"a=no",
        b" " + MARK + b'a="2 "',
        MARK + b"=nameless",
    ]
    assert restored(fields, SESSION) == b'a=1; b=x=y; a="2 "; nameless'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"1,login=secret", b"a=1"),
        (b"1, login=secret; ", b"a=1"),
        (b'"1,login=se"cret', b'a="1'),
        (b'{"x":1,"y":2}', b'a={"x":1,"y":2}'),
        (b"1,2", b"a=1,2"),
    ],
)
def test_a_field_that_the_server_joined_with_a_comma_brings_nothing_in(
    value: bytes, expected: bytes
) -> None:
    assert restored([MARK + b"a=" + value], SESSION) == expected


NAMES = st.binary(max_size=30)


@given(NAMES)
def test_whatever_a_session_sets_is_a_cookie_of_its_own_alone(value: bytes) -> None:
    out = given_out(value)
    if out is None:
        return
    cookie, path, *rest = out.split(b"; ")
    assert cookie.removeprefix(b"__Secure-").startswith(MARK)
    assert path.startswith(b"Path=" + PUBLIC + b"/")
    assert not [each for each in rest if each.lower().startswith(b"domain")]
    assert out.count(b"Path=" + PUBLIC) == 1
    assert restored([cookie], OTHER) == b""


@given(st.text("abcdefABC-_.!1", min_size=1), st.text("abc123 \"'=/", max_size=20))
def test_a_cookie_comes_back_as_it_was_set(name: str, value: str) -> None:
    pair = f"{name}={value.strip(' ')}".encode()
    out = given_out(pair)
    assert out is not None
    stored = out.split(b";")[0]
    assert restored([b"a=b; " + stored + b"; c=d"], SESSION) == pair


def test_a_jar_of_pythons_takes_what_is_given_out() -> None:
    out = given_out(b"sid=1; Path=/app; HttpOnly; Max-Age=5; SameSite=Lax")
    assert out is not None
    [morsel] = SimpleCookie(out.decode().replace(REST.decode(), "")).values()
    assert morsel["path"] == PUBLIC.decode() + "/app"
    assert (morsel["httponly"], morsel["max-age"]) == (True, "5")


def sent_cookies(*fields: bytes, **options: object) -> list[bytes]:
    headers = sent_headers(*((b"cookie", each) for each in fields), **options)
    return values(headers, b"cookie")


def test_a_request_carries_the_sessions_own_cookies_in_one_field() -> None:
    assert sent_cookies(b"login=1; " + MARK + b"a=1", MARK + b"b=2") == [b"a=1; b=2"]


def test_a_request_with_the_portals_cookies_alone_carries_none() -> None:
    assert sent_cookies(b"login=1") == []


def test_dropped_means_in_both_directions() -> None:
    assert sent_cookies(MARK + b"a=1", cookies="drop") == []
    headers: Headers = [(b"set-cookie", b"a=1"), (b"content-type", b"text/plain")]
    kept = passed_on(200, headers, cookies="drop").headers
    assert values(kept, b"set-cookie") == []


def test_forwarded_means_untouched_in_both_directions() -> None:
    sent = sent_cookies(b"login=1", MARK + b"a=1", cookies="forward")
    assert sent == [b"login=1", MARK + b"a=1"]
    kept = passed_on(200, [(b"set-cookie", b"a=1; Path=/")], cookies="forward").headers
    assert values(kept, b"set-cookie") == [b"a=1; Path=/"]


def test_isolated_means_each_for_itself_and_in_order() -> None:
    said = [b"a=1", b"__Host-x=1", b"a=2; Path=/x"]
    kept = passed_on(200, [(b"set-cookie", each) for each in said]).headers
    expected = [given_out(b"a=1"), given_out(b"a=2; Path=/x")]
    assert values(kept, b"set-cookie") == expected


def test_cookies_that_belong_to_the_hop_are_gone_with_it() -> None:
    fields = keyed((b"cookie", MARK + b"a=1"), (b"connection", b"Cookie"))
    assert values(a_request(headers=fields).headers, b"cookie")
    headers = sent_headers((b"cookie", MARK + b"a=1"), (b"connection", b"Cookie"))
    assert values(headers, b"cookie") == []
    said = [(b"set-cookie", b"a=1"), (b"connection", b"set-cookie")]
    assert values(passed_on(200, said).headers, b"set-cookie") == []


def test_an_authenticator_sees_every_cookie() -> None:
    request = a_request(headers=[(b"cookie", b"login=1; " + MARK + b"a=1")])
    assert request.header("Cookie") == "login=1; " + MARK.decode() + "a=1"


@pytest.mark.parametrize("value", ["", "Isolate", "keep", None, True, ["drop"]])
def test_any_other_way_with_cookies_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="cookies must be one of isolate, drop, for"):
        a_proxy(cookies=value)


@pytest.mark.parametrize(
    "value", [b"a=1,b=2", b'{"x":1, "y":2, z=3}', b"100%", b"%2C", b"%252C,%25", b"%"]
)
def test_a_value_comes_back_as_it_was_set(value: bytes) -> None:
    out = given_out(b"sid=" + value)
    assert out is not None
    pair = out.partition(b";")[0]
    assert restored([b"theme=dark; " + pair], a_session()) == b"sid=" + value
