"""Every change leaves a record of who did what, and no secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore

from .serving import KEY, UPSTREAM, Caller

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
ONE = f"/services/bot/sessions/{ID}"
SECRET = "pk_mine_0123456789abcdef0123456789abcdef"


class Records:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        caplog.set_level(logging.INFO, "session_proxy.admin")

    def taken(self) -> list[Any]:
        """Those since the last time."""
        found: list[Any] = [
            each for each in self._caplog.records if each.name == "session_proxy.admin"
        ]
        self._caplog.clear()
        return found


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    return Records(caplog)


def test_each_change_is_a_line_and_its_facts_are_attributes(
    call: Caller, records: Records
) -> None:
    id = {"X-Request-Id": "mine-1"}
    new = {"upstream": UPSTREAM, "ttl": 60}
    assert call("PUT", ONE, new, headers=id).status == 201
    [record] = records.taken()
    assert record.getMessage() == (
        f"portal session.register service=bot session_id={ID} 201"
    )
    assert (record.admin, record.action) == ("portal", "session.register")
    assert (record.service, record.session_id) == ("bot", ID)
    assert (record.request_id, record.status) == ("mine-1", 201)
    assert (record.client, record.key_id) == ("127.0.0.1", None)
    assert record.values["upstream"] == UPSTREAM
    assert record.values["ttl"] == 60


def test_every_kind_of_change_is_recorded_and_nothing_that_only_looks(
    call: Caller, records: Records, store: MemoryStore
) -> None:
    key = store.keys.create()
    for method, path, body in [
        ("PUT", "/services/bot", {}),
        ("POST", "/services/bot/sessions", {"upstream": UPSTREAM}),
        ("PUT", ONE, {"upstream": UPSTREAM, "state": "starting"}),
        ("POST", ONE + "/ready", None),
        ("POST", ONE + "/touch", None),
        ("POST", ONE + "/drain", None),
        ("DELETE", ONE, None),
        ("POST", "/keys", {}),
        ("POST", f"/keys/{key.id}/rotate", None),
        ("DELETE", f"/keys/{key.id}", None),
        ("DELETE", "/services/bot", None),
        ("GET", "/services", None),
        ("GET", "/sessions", None),
        ("GET", ONE, None),
        ("GET", "/keys", None),
        ("GET", "/openapi.json", None),
        ("HEAD", "/services", None),
        ("POST", "/services", None),
    ]:
        call(method, path, body)
    found = records.taken()
    assert [each.action for each in found] == [
        "service.put",
        "session.register",
        "session.register",
        "session.ready",
        "session.touch",
        "session.drain",
        "session.end",
        "key.create",
        "key.rotate",
        "key.revoke",
        "service.remove",
    ]
    assert all(each.levelname == "INFO" and each.status < 300 for each in found)
    # The id of a session or key that was made is told, though no path had it.
    made = found[1].session_id
    assert store.sessions.lookup("bot", made) is not None
    created, rotated = found[7], found[8]
    assert store.keys.find(created.key_id) is not None
    assert rotated.key_id == key.id
    assert store.keys.find(rotated.values["id"]) is not None


def test_what_was_tried_in_vain_is_recorded_with_its_status(
    call: Caller, records: Records
) -> None:
    call("DELETE", ONE)
    call("POST", "/keys", {"services": "bot"})
    assert [each.getMessage() for each in records.taken()] == [
        f"portal session.end service=bot session_id={ID} 404",
        "portal key.create /keys 400",
    ]


def test_who_has_no_key_is_a_warning(call: Caller, records: Records) -> None:
    call("DELETE", ONE, key="adm_stranger_0123456789")
    [record] = records.taken()
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"nobody DELETE {ONE} 401"
    assert (record.admin, record.action, record.client) == (None, None, "127.0.0.1")


def test_no_secret_is_in_any_record(
    call: Caller, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [KEY, SECRET, "adm_stranger_0123456789"]
    call("POST", "/keys", {"secret": SECRET})
    call("POST", "/keys", {"secret": SECRET})
    call("POST", "/keys", {"secret": SECRET, "services": 7})
    made = call("POST", "/keys").json
    rotated = call("POST", f"/keys/{made['id']}/rotate").json
    call("GET", "/keys", key=secrets[2])
    secrets += [made["secret"], rotated["secret"]]
    everything = "".join(str(vars(each)) for each in caplog.records)
    assert made["id"] in everything
    for secret in secrets:
        assert secret not in everything


def test_no_name_can_write_lines_of_its_own(call: Caller, records: Records) -> None:
    call("PUT", "/services/a%0Ab%1b%E2%80%AE", {})
    call("DELETE", "/%0Aroot", key=None)
    assert [each.getMessage() for each in records.taken()] == [
        "portal service.put service=a%0Ab%1B%E2%80%AE 400",
        "nobody DELETE /%0Aroot 401",
    ]
