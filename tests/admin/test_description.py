"""The description of the API is valid, whole, and true of what is answered.

That answers are as described, every test of this folder checks (`serving.check`).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from session_proxy_middleware.admin.openapi import OPERATIONS, description

from .serving import UPSTREAM, Caller
from .test_refusals import BAD_BODIES


def test_it_is_openapi_3_1() -> None:
    for mount in ("", "/internal/admin"):
        described = description(mount)
        assert described["openapi"].startswith("3.1.")
        OpenAPIV31SpecValidator(described).validate()


def test_it_is_served_to_whoever_has_a_key(call: Caller) -> None:
    assert call("GET", "/openapi.json", key=None).status == 401
    assert call("GET", "/openapi.json").json == description()


def test_every_operation_has_an_id_of_its_own() -> None:
    assert len({each.id for each in OPERATIONS}) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)


def body_schema(method: str, path: str) -> Any:
    for template, item in description()["paths"].items():
        if re.fullmatch(re.sub("{[^}]+}", "[^/]+", template), path):
            body = item[method.lower()]["requestBody"]
            return body["content"]["application/json"]["schema"]
    raise AssertionError(path)


def test_bodies_that_are_taken_are_as_described(call: Caller) -> None:
    one = "/services/bot/sessions/57af5437-97a2-4646-9873-a5c5935bd705"
    for method, path, body in [
        ("PUT", "/services/bot", {}),
        ("PUT", "/services/bot", {"ready": False}),
        ("POST", "/services/bot/sessions", {"upstream": UPSTREAM, "ttl": 0.5}),
        ("PUT", one, {"upstream": UPSTREAM, "state": "starting"}),
        ("POST", one + "/touch", {"ttl": 60}),
        ("POST", one + "/ready", {}),
        ("POST", "/keys", {"methods": ["GET"], "paths": ["/a"], "secret": None}),
    ]:
        Draft202012Validator(body_schema(method, path)).validate(body)
        assert call(method, path, body).status in (200, 201)


def beyond_schemas(body: Any, sentence: str) -> bool:
    """Bytes that are no JSON, what a URL or a name in a path may be, characters and
    numbers that no float and no UTF-8 holds."""
    said = re.match("upstream must (look|not)|a service's name|paths must", sentence)
    return (
        isinstance(body, bytes)
        or said is not None
        or bool(re.search(r"\\ud800|0{300}", repr(body)))
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [each[:3] for each in BAD_BODIES if not beyond_schemas(*each[2:])],
)
def test_bodies_that_are_refused_are_not(method: str, path: str, body: Any) -> None:
    assert not Draft202012Validator(body_schema(method, path)).is_valid(body)
