"""The table of all operations, and its description (OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from . import keys, services, sessions
from .members import Members, Schema
from .operation import Asked, Call, Operation, Outcome

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "number", "description": "Seconds since the epoch."}
_TIME_OR_NULL: Schema = {**_TIME, "type": ["number", "null"]}


def _object(properties: Mapping[str, Any]) -> Schema:
    """All of them are always there, and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _page(name: str, of: str) -> Schema:
    return _object(
        {
            name: {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}},
            "next": {
                "type": ["string", "null"],
                "description": "What the next page comes `after`; null for the last.",
            },
        }
    )


_KEY: Mapping[str, Any] = {
    "id": _TEXT,
    "services": {"type": "array", "items": _TEXT},
    "methods": {"type": ["array", "null"], "items": _TEXT},
    "paths": {"type": ["array", "null"], "items": _TEXT},
    "not_before": _TIME_OR_NULL,
    "expires_at": _TIME_OR_NULL,
    "created_at": _TIME,
    "used_at": {
        **_TIME_OR_NULL,
        "description": "When it was last used, to within some seconds.",
    },
}

SCHEMAS: Mapping[str, Schema] = {
    "Service": _object({"name": _TEXT, "ready": {"type": "boolean"}}),
    "Services": _page("services", "Service"),
    "Session": _object(
        {
            "service": _TEXT,
            "id": _TEXT,
            "upstream": {**_TEXT, "description": "Internal: not for the public."},
            "state": {"type": "string", "enum": list(sessions.STATES)},
            "ttl": {"type": "number", "description": "Seconds."},
            "registered_at": _TIME,
            "expires_at": {
                **_TIME,
                "description": "When it ends by itself; of one that has ended, when "
                "it did.",
            },
            "active_at": {
                **_TIME_OR_NULL,
                "description": "When bytes last flowed, to within some seconds.",
            },
        }
    ),
    "Sessions": _page("sessions", "Session"),
    "Key": _object(_KEY),
    "NewKey": _object(
        {**_KEY, "secret": {**_TEXT, "description": "Shown once: keep it."}}
    ),
    "Keys": _page("keys", "Key"),
    "Error": _object({"error": _TEXT, "code": _TEXT}),
}

_REFUSALS = {
    400: "What is asked is not valid; the sentence names what.",
    401: "No admin key.",
    404: "There is none of this name or id.",
    409: "The state of things forbids it.",
    413: "The body is too large.",
    415: "The body is not declared to be JSON.",
    500: "A bug. The log tells more.",
    503: "The store fails.",
}

_NAMES = {
    "service": "The name of the service.",
    "session_id": "The id of the session; of a UUID, case does not matter.",
    "key_id": "The id of the key: `pk_<id>_…`.",
}


def description(mount: str = "") -> dict[str, Any]:
    """The API as OpenAPI describes it. `mount`: the path that it is mounted at."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(operation.path, _names(operation.path))
        item[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API of a session proxy",
            "version": "1",
            "description": "Services, sessions and public keys. Not for the public.",
        },
        "servers": [{"url": mount or "/"}],
        "security": [{"adminKey": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {str(each): _refusal(each) for each in _REFUSALS},
            "securitySchemes": {
                "adminKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admin key. Public keys open nothing here.",
                }
            },
        },
    }


def _names(path: str) -> dict[str, Any]:
    named = [name for name in _NAMES if f"{{{name}}}" in path]
    if not named:
        return {}
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": _NAMES[name],
                "schema": _TEXT,
            }
            for name in named
        ]
    }


def _operation(operation: Operation) -> dict[str, Any]:
    refusals = {401, 500, 503, *operation.refusals}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
    }
    if operation.query:
        refusals.add(400)
        described["parameters"] = [
            {
                "name": name,
                "in": "query",
                "description": parameter.description,
                "schema": parameter.schema,
            }
            for name, parameter in operation.query.items()
        ]
    if operation.members is not None:
        refusals |= {400, 413, 415}
        described["requestBody"] = _body(operation.members)
    described["responses"] = {
        **{
            str(status): _answer(status, what, schema)
            for status, (what, schema) in operation.answers.items()
        },
        **{
            str(status): {"$ref": f"#/components/responses/{status}"}
            for status in sorted(refusals)
        },
    }
    return described


def _body(members: Members) -> dict[str, Any]:
    required = [name for name, member in members.items() if member.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: member.schema for name, member in members.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {
        "required": bool(required),
        "content": {"application/json": {"schema": schema}},
    }


def _answer(status: int, what: str, schema: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": what}
    if schema is not None:
        found = (
            {"$ref": f"#/components/schemas/{schema}"}
            if schema in SCHEMAS
            else {"type": schema}
        )
        answer["content"] = {"application/json": {"schema": found}}
    return answer


def _refusal(status: int) -> dict[str, Any]:
    return _answer(status, _REFUSALS[status], "Error")


def _describe(asked: Asked) -> Generator[Call, Any, Outcome]:
    yield from ()
    return Outcome(200, description(asked.mount))


OPERATIONS = (
    *services.OPERATIONS,
    *sessions.OPERATIONS,
    *keys.OPERATIONS,
    Operation(
        id="describe",
        action="describe",
        method="GET",
        path="/openapi.json",
        summary="This description.",
        perform=_describe,
        answers={200: ("The description.", "object")},
    ),
)
