"""What is remembered of a response's field names leads where a closer look does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.models import Headers
from session_proxy_middleware.rules.forwarding import HeaderPolicy, inbound
from tests.unit.values import a_request, a_session

VALUES = {
    b"cache-control": [b"no-cache"],
    b"connection": [b"keep-alive", b"close", b"x-own", b"Keep-Alive, content-type"],
    b"content-length": [b"5"],
    b"content-type": [b"text/plain", b"text/html", b"nonsense"],
    b"date": [b"now"],
    b"location": [b"/x", b"https://elsewhere.example/"],
    b"server": [b"bot"],
    b"set-cookie": [b"a=1"],
    b"x-accel-buffering": [b"yes"],
    b"x-content-type-options": [b"none"],
    b"x-own": [b"1"],
    b"x-request-id": [b"theirs"],
    b"x-session-proxy-error": [b"forged"],
}
FIELD = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]))
)


@given(
    st.lists(FIELD, max_size=8),
    st.sampled_from([200, 201, 204, 205, 206, 302, 304, 404, 500]),
    st.booleans(),
    st.sampled_from(["sandbox", "off"]),
)
def test_a_response_whose_names_are_known_is_treated_as_the_first_one(
    fields: Headers, status: int, private: bool, isolation: str
) -> None:
    policy = HeaderPolicy(private=private, isolation=isolation)
    request, session = a_request(), a_session()
    replies = [inbound(status, fields, request, session, policy) for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]
    # And in another order of coming: a plan was made for a response like it before.
    other = HeaderPolicy(private=private, isolation=isolation)
    usual: Headers = [(name, VALUES[name][0]) for name, _ in fields]
    for _ in range(2):
        inbound(200, usual, request, session, other)
    assert inbound(status, fields, request, session, other) == replies[0]
    # What the transport shares is remembered whole, for one status and no other.
    shared = tuple(fields)
    for other_status in (status, 200, 304, 203):
        expected = inbound(
            other_status,
            fields,
            request,
            session,
            HeaderPolicy(private=private, isolation=isolation),
        )
        for _ in range(2):
            request.id = b"another"
            inbound(other_status, shared, request, session, other)
            request.id = a_request().id
            found = inbound(other_status, shared, request, session, other)
            assert found == expected
            found.headers.clear()


def test_so_many_fields_are_remembered_and_no_more() -> None:
    policy = HeaderPolicy()
    request, session = a_request(), a_session()
    for number in range(3000):
        shared = ((b"content-length", b"5"), (b"x-own", b"%d" % number))
        for _ in range(2):
            inbound(200, shared, request, session, policy)
    assert 0 < len(policy.crossed) <= 1024
    large = ((b"content-length", b"5"), (b"x-own", b"1" * 3000))
    for _ in range(2):
        inbound(200, large, request, session, policy)
    assert large not in policy.crossed


def test_a_transport_may_hand_over_lists_in_a_tuple() -> None:
    fields: Any = ([b"content-length", b"5"], [b"x-own", b"1"])
    found = inbound(200, fields, a_request(), a_session(), HeaderPolicy())
    assert [tuple(each) for each in found.headers[:2]] == [*map(tuple, fields)]


def test_so_many_plans_are_remembered_and_no_more() -> None:
    policy = HeaderPolicy()
    for number in range(3000):
        policy.plan((b"content-length", b"x-%d" % number))
        policy.plan((b"content-length", b"x" * 2000 + b"%d" % number))
    assert 0 < len(policy.plans) <= 1024
    assert max(sum(map(len, names)) for names in policy.plans) <= 1024
