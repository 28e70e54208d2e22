"""A wrong option fails where it is given, and says which one it is."""

from __future__ import annotations

import math
import ssl
from typing import Any

import httpx
import httpx2
import pytest

from session_proxy_middleware import (
    Caching,
    ConfigError,
    Limits,
    MemoryStore,
    SessionProxy,
    Timeouts,
    WebSockets,
)
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from session_proxy_middleware.upstream.httpx_transport import (
    AsyncHTTPXTransport,
    HTTPXTransport,
)
from tests.unit.values import a_proxy

NO_TIMES = [0, -1, math.inf, math.nan, "3", True, None, [1, 1e10, 10**400]]
NO_COUNTS = [0, -1, 1.5, "3", True, [1]]


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", ["connect", "response", "idle"])
def test_a_time_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"Timeouts\({name}=\.\.\.\) must be"):
        Timeouts(**{name: value})


@pytest.mark.parametrize("value", [each for each in NO_TIMES if each is not None])
def test_a_total_time_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="or None"):
        Timeouts(total=value)


def test_times_have_defaults_and_keep_what_they_are_given() -> None:
    assert Timeouts() == Timeouts(connect=3.0, response=60.0, idle=300.0, total=None)
    assert Timeouts(connect=1, total=0.5).total == 0.5


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, "3", True, None, [1]])
@pytest.mark.parametrize("name", ["found", "absent", "keys", "entries"])
def test_a_caching_time_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"Caching\({name}=\.\.\.\) must be"):
        Caching(**{name: value})


@pytest.mark.parametrize("value", [0, 1.5])
def test_a_cache_without_entries_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="whole number from 1 up"):
        Caching(entries=value)


def test_caching_has_defaults_and_may_be_off() -> None:
    assert Caching() == Caching(found=1.0, absent=0.5, keys=5.0, entries=20_000)
    assert Caching(found=0, absent=0, keys=0).keys == 0


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, "3", True, None])
def test_a_wait_for_readiness_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="ready_wait must be seconds"):
        a_proxy(ready_wait=value)


@pytest.mark.parametrize("value", ["readyz", "", "/a b", "/ü", 3, b"/readyz"])
def test_a_readiness_path_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="ready_path must be a path"):
        a_proxy(ready_path=value)


def test_the_profile_for_pipecat_waits_and_may_be_changed() -> None:
    proxy = SessionProxy.for_pipecat("memory://", prefix="/v1")
    assert (proxy.ready_wait, proxy.ready_path) == (10.0, "/readyz")
    assert SessionProxy.for_pipecat("memory://", ready_wait=2).ready_wait == 2.0
    assert SessionProxy("memory://").ready_wait == 0.0


@pytest.mark.parametrize("value", NO_COUNTS)
@pytest.mark.parametrize("name", ["per_session", "per_key", "total"])
def test_a_limit_that_is_no_count_is_refused(name: str, value: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"Limits\({name}=\.\.\.\).*None for no limit"
    ):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [*NO_COUNTS, None])
@pytest.mark.parametrize("name", ["header_fields", "header_bytes"])
def test_a_header_limit_cannot_be_left_out(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"Limits\({name}=\.\.\.\) must be"):
        Limits(**{name: value})


def test_limits_may_be_none_and_a_body_may_be_forbidden() -> None:
    assert Limits(per_session=None, per_key=None, total=None, body=None).total is None
    assert Limits(body=0).body == 0
    with pytest.raises(ConfigError, match="body"):
        Limits(body=-1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authenticate", "token"),
        ("timeouts", 3),
        ("timeouts", {"connect": 3}),
        ("limits", 3),
        ("limits", Timeouts()),
        ("ssl_context", True),
        ("contract", "loose"),
        ("contract", None),
        ("forwarded", None),
        ("transport", object()),
        ("transport", "httpx"),
        ("prefix", "x"),
        ("session_id_pattern", "("),
        ("session_id_header", "x y"),
        ("reserved_paths", "/bot"),
    ],
)
def test_a_wrong_option_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        a_proxy(**{name: value})


@pytest.mark.parametrize(
    "store", ["redis:", "http://x", "", None, object(), 3, {"services": {}}]
)
def test_a_store_that_is_none_is_refused(store: Any) -> None:
    with pytest.raises(ConfigError, match="store must be"):
        SessionProxy(store)


def test_a_store_may_be_named_by_its_url() -> None:
    assert isinstance(SessionProxy("memory://").store, MemoryStore)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_client_is_no_transport(library: Any) -> None:
    with library.Client() as client, pytest.raises(ConfigError, match="not a client"):
        a_proxy(transport=client)
    with pytest.raises(ConfigError, match="not a client"):
        a_proxy(transport=library.AsyncClient())


def test_the_default_transports_are_this_packages_own() -> None:
    timeouts = Timeouts(connect=1)
    proxy = a_proxy(timeouts=timeouts, ssl_context=ssl.create_default_context())
    own = proxy.async_transport()
    assert isinstance(own, AsyncHTTP11Transport)
    assert own.timeouts is timeouts
    blocking = proxy.blocking_transport()
    assert isinstance(blocking, HTTP11Transport)
    assert blocking.timeouts is timeouts


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_transport_of_httpx_serves_the_driver_of_its_kind(library: Any) -> None:
    blocking = a_proxy(transport=library.HTTPTransport())
    assert isinstance(blocking.blocking_transport(), HTTPXTransport)
    with pytest.raises(ConfigError, match="transport HTTPTransport is sync"):
        blocking.async_transport()
    async_proxy = a_proxy(transport=library.AsyncHTTPTransport())
    assert isinstance(async_proxy.async_transport(), AsyncHTTPXTransport)
    with pytest.raises(ConfigError, match="transport AsyncHTTPTransport is async"):
        async_proxy.blocking_transport()


def test_a_transport_of_this_packages_interface_is_used_as_it_is() -> None:
    own, blocking = AsyncHTTP11Transport(), HTTP11Transport()
    assert a_proxy(transport=own).async_transport() is own
    assert a_proxy(transport=blocking).blocking_transport() is blocking


def test_networks_are_not_told_to_a_transport_that_is_there_already() -> None:
    with pytest.raises(ConfigError, match="allowed_networks must be"):
        a_proxy(allowed_networks="10.0.0.0/8")
    with pytest.raises(ConfigError, match="networks=Networks"):
        a_proxy(transport=HTTP11Transport(), allowed_networks=["10.0.0.0/8"])
    a_proxy(transport=httpx.HTTPTransport(), allowed_networks=["10.0.0.0/8"])


@pytest.mark.parametrize("adapter", [AsyncHTTPXTransport, HTTPXTransport])
def test_an_adapter_takes_transports_of_httpx_alone(adapter: Any) -> None:
    with pytest.raises(ConfigError, match="transport must be a transport of httpx"):
        adapter(object())


def test_a_mock_transport_may_be_used_from_both_sides() -> None:
    proxy = a_proxy(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    assert isinstance(proxy.async_transport(), AsyncHTTPXTransport)
    assert isinstance(proxy.blocking_transport(), HTTPXTransport)


def test_request_ids_are_never_the_same() -> None:
    proxy = a_proxy()
    ids = {proxy.new_request_id() for _ in range(1000)}
    assert len(ids) == 1000


def test_websockets_have_defaults_and_keep_what_they_are_given() -> None:
    assert WebSockets() == WebSockets(
        allowed_origins=(),
        max_message=16 * 1024 * 1024,
        ping_interval=20.0,
        compression=False,
    )
    given = WebSockets(allowed_origins=["https://a.example", "http://localhost:5173"])
    assert given.origins == {b"https://a.example", b"http://localhost:5173"}
    assert WebSockets(ping_interval=None).ping_interval is None
    proxy = a_proxy(websockets=given)
    assert proxy.websockets is given


@pytest.mark.parametrize(
    "value",
    [
        "https://a.example",
        ["*"],
        ["null"],
        ["a.example"],
        ["https://a.example/"],
        ["https://A.example"],
        ["https://a.example:443"],
        [None],
        None,
    ],
)
def test_an_origin_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"WebSockets\(allowed_origins=\.\.\.\) must"):
        WebSockets(allowed_origins=value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_message", [0, -1, 1.5, "3", True, None]),
        ("ping_interval", [0, -1, math.inf, math.nan, "3", True]),
        ("compression", [None, 1, "deflate"]),
    ],
)
def test_an_option_of_websockets_that_is_wrong_is_named(
    name: str, values: list[Any]
) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"WebSockets\({name}=\.\.\.\) must be"):
            WebSockets(**{name: value})


def test_websockets_are_their_options_or_nothing() -> None:
    with pytest.raises(ConfigError, match=r"websockets must be WebSockets\(\.\.\.\)"):
        a_proxy(websockets={"max_message": 1})
