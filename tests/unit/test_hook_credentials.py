"""A hook is asked about one credential, or not at all."""

from __future__ import annotations

import pytest

from session_proxy_middleware import MemoryStore, Principal, Request, SessionProxy
from session_proxy_middleware.exchange import Authenticate, exchange
from session_proxy_middleware.models import Headers, Reply

SESSION = "57af5437-97a2-4646-9873-a5c5935bd705"
PATH = f"/svc/sessions/{SESSION}/x"


def first_step(fields: list[bytes]) -> object:
    def hook(request: Request) -> Principal:
        return Principal(id="someone")

    proxy = SessionProxy(MemoryStore(), authenticate=hook)
    route = proxy.match(PATH, PATH.encode())
    assert route is not None
    headers: Headers = [(b"authorization", field) for field in fields]
    flow = exchange(
        Request("GET", route, None, headers, "127.0.0.1", "http", "1.1", {}), proxy
    )
    step = next(flow)
    flow.close()
    return step


@pytest.mark.parametrize(
    "fields",
    [[b"Bearer good", b"Bearer other"], [b"Bearer good,Bearer other"]],
    ids=["two", "joined"],
)
def test_two_credentials_are_refused_before_the_hook(fields: list[bytes]) -> None:
    step = first_step(fields)
    assert isinstance(step, Reply)
    assert step.status == 401


@pytest.mark.parametrize("field", [b"Bearer good", b'Digest username="a", realm="b"'])
def test_one_credential_of_any_scheme_is_the_hooks_to_judge(field: bytes) -> None:
    assert isinstance(first_step([field]), Authenticate)
