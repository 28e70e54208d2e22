"""References in a session's header fields: what the client gets of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.rules.location import FIELDS, field, rewritten
from tests.unit.crossing import passed_on, values
from tests.unit.values import ID, a_session

PUBLIC = b"/v1/bot/sessions/" + ID.encode()


@pytest.mark.parametrize(
    ("upstream", "value", "expected"),
    [
        ("http://10.0.3.7:8080", b"/x?a=1#f", PUBLIC + b"/x?a=1#f"),
        ("http://10.0.3.7:8080", b"/", PUBLIC + b"/"),
        ("http://10.0.3.7:8080", b"x", b"x"),
        ("http://10.0.3.7:8080", b"../x", b"../x"),
        ("http://10.0.3.7:8080", b"?a=1", b"?a=1"),
        ("http://10.0.3.7:8080", b"", b""),
        ("http://10.0.3.7:8080", b"http:10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080/x", PUBLIC + b"/x"),
        # What browsers take for the same.
        ("http://10.0.3.7:8080", b"///10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"\\\\10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http:/\\10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080\\x", PUBLIC + b"/\\x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080", PUBLIC + b"/"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080?a", PUBLIC + b"/?a"),
        ("http://10.0.3.7:8080", b"HTTP://10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"https://10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"//10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://u:p@10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7/x", b"http://10.0.3.7/x"),
        (
            "http://10.0.3.7:8080",
            b"http://10.0.3.7:80801/x",
            b"http://10.0.3.7:80801/x",
        ),
        ("http://10.0.3.7:8080", b"//other.example/x", b"//other.example/x"),
        ("http://10.0.3.7:8080", b"https://other.example/", b"https://other.example/"),
        ("http://10.0.3.7:8080", b"http://x:123456/", b"http://x:123456/"),
        ("http://10.0.3.7:8080", b"ftp://10.0.3.7:8080/", b"ftp://10.0.3.7:8080/"),
        ("http://10.0.3.7:8080", PUBLIC + b"/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", PUBLIC, PUBLIC),
        ("http://10.0.3.7:8080", PUBLIC + b"2/x", PUBLIC + PUBLIC + b"2/x"),
        ("http://10.0.3.7", b"http://10.0.3.7:80/x", PUBLIC + b"/x"),
        ("http://Bot.Local", b"http://bot.LOCAL/x", PUBLIC + b"/x"),
        ("http://Bot.Local:80", b"//bot.local:80/x", PUBLIC + b"/x"),
        ("http://[2001:db8::1]:8080", b"http://[2001:DB8::1]:8080/x", PUBLIC + b"/x"),
        ("https://bot.local", b"https://bot.local:443/x", PUBLIC + b"/x"),
        ("https://bot.local", b"//bot.local/x", PUBLIC + b"/x"),
        ("https://bot.local", b"http://bot.local/x", PUBLIC + b"/x"),
        ("unix:///run/bot.sock", b"http://localhost/x", PUBLIC + b"/x"),
        ("unix:///run/bot.sock", b"http://other/x", b"http://other/x"),
        # Other spellings of the same address, as browsers read them.
        ("http://127.0.0.1:8080", b"http://127.1:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"http://2130706433:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//0x7f.1:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//0177.0.0.1:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//127.0.0.1.:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//%31%32%37.0.0.1:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//[::ffff:7f00:1]:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//localhost:8080/x", PUBLIC + b"/x"),
        ("http://127.0.0.1:8080", b"//[::1]:8080/x", PUBLIC + b"/x"),
        (
            "http://127.0.0.1:8080",
            "//\uff11\uff12\uff17\u30020.0.1:8080/x".encode(),
            PUBLIC + b"/x",
        ),
        ("http://127.0.0.1:8080", b"ht\ttp:/\t/127.0.0.1:8080/x", PUBLIC + b"/x"),
        ("http://0x7f.1:8080", b"//127.0.0.1:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"//167772935:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"//0.0.0.0:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"//[::]:8080/x", PUBLIC + b"/x"),
        ("http://[2001:db8::1]:80", b"//[2001:db8:0:0::1]/x", PUBLIC + b"/x"),
        # And what is none of it.
        ("http://10.0.3.7:8080", b"//localhost:8080/x", b"//localhost:8080/x"),
        ("http://10.0.3.7:8080", b"//0.0.0.0:8081/x", b"//0.0.0.0:8081/x"),
        ("http://127.0.0.1:8080", b"//127.2:8080/x", b"//127.2:8080/x"),
        ("http://127.0.0.1:8080", b"//127.0.0.0.1:8080/x", b"//127.0.0.0.1:8080/x"),
        ("http://127.0.0.1:8080", b"//4294967296:8080/x", b"//4294967296:8080/x"),
        ("http://127.0.0.1:8080", b"//256.0.0.1:8080/x", b"//256.0.0.1:8080/x"),
        ("http://127.0.0.1:8080", b"//[nonsense:8080/x", b"//[nonsense:8080/x"),
        ("http://10.0.3.7/base", b"/base/x", PUBLIC + b"/x"),
        ("http://10.0.3.7/base", b"/base", PUBLIC + b"/"),
        ("http://10.0.3.7/base", b"/base?a", PUBLIC + b"/?a"),
        ("http://10.0.3.7/base", b"/basement", PUBLIC + b"/basement"),
        ("http://10.0.3.7/base", b"/other", PUBLIC + b"/other"),
    ],
)
def test_a_location_inside_the_session_is_public_and_others_are_left_alone(
    upstream: str, value: bytes, expected: bytes
) -> None:
    assert rewritten(value, a_session(upstream), PUBLIC) == expected


OWN = b"http://10.0.3.7:8080"
NEXT = b"/bot/sessions/" + ID.encode() + b"/next"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"location", OWN + b"/next", NEXT),
        (b"content-location", OWN + b"/next", NEXT),
        (b"refresh", b"5; url=/next", b"5; url=" + NEXT),
        (b"refresh", b"0;URL='" + OWN + b"/next'; x", b"0;URL='" + NEXT + b"'; x"),
        (b"refresh", b'0.5, "/next"', b'0.5, "' + NEXT + b'"'),
        (b"refresh", b"1 /next", b"1 " + NEXT),
        (b"refresh", b"5", b"5"),
        (b"refresh", b"5; url=https://x.example/", b"5; url=https://x.example/"),
        (b"link", b"</next>; rel=next", b"<" + NEXT + b">; rel=next"),
        (
            b"link",
            b'<x>; title="</next>, <", < ' + b">; a, <" + OWN + b'/next>; rel="x"',
            b'<x>; title="</next>, <", < >; a, <' + NEXT + b'>; rel="x"',
        ),
        (b"link", b"<https://x.example/>, </next", b"<https://x.example/>, </next"),
        (b"uri", OWN + b"/next", OWN + b"/next"),
    ],
)
def test_fields_that_lead_somewhere_lead_to_the_public_url(
    name: bytes, value: bytes, expected: bytes
) -> None:
    reply = passed_on(302, [(name, value)])
    assert values(reply.headers, name) == [expected]


@given(st.sampled_from(sorted(FIELDS)), st.binary(max_size=60))
def test_any_field_of_references_can_be_rewritten(name: bytes, value: bytes) -> None:
    field(name, value, a_session(), PUBLIC)


@given(st.binary(max_size=40))
def test_any_location_can_be_rewritten(value: bytes) -> None:
    result = rewritten(value, a_session(), PUBLIC)
    assert result == value or result.startswith(PUBLIC)
