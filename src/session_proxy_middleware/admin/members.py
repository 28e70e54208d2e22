"""What a request may say in its body and its query: each member once, with what is
allowed, for checking and for the description of the API."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from .errors import InvalidRequest, UnsupportedMediaType

Schema = Mapping[str, Any]
"""JSON Schema 2020-12, which is OpenAPI 3.1's."""

MOST_LISTED = 1000
LISTED = 100
_PARAMETERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a JSON object.

    What holds for its value beyond its type is the store's word, in the sentences of
    its `ConfigError`.
    """

    schema: Schema
    fits: Callable[[Any], bool]
    allowed: str
    """What the type is, in words."""
    required: bool = False
    nullable: bool = False
    """Null is as good as leaving it out."""


Members = Mapping[str, Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a query. `read` raises `ValueError` for what is not allowed."""

    schema: Schema
    description: str
    read: Callable[[str], Any]
    allowed: str


Parameters = Mapping[str, Parameter]


def given(body: bytes, content_types: tuple[bytes, ...], members: Members) -> Any:
    """The members of a JSON object, as options for the store.

    Raises:
        UnsupportedMediaType: a body that is not declared to be JSON.
        InvalidRequest: it is none, or not what is allowed.
    """
    if body:
        _check_json(content_types)
    found = _object(body) if body else {}
    for name in found:
        if name not in members:
            allowed = ", ".join(members) or "none"
            raise InvalidRequest(f"no member {name!r} is known here; known: {allowed}")
    options = {}
    for name, member in members.items():
        value = found.get(name)
        if name not in found or (value is None and member.nullable):
            if member.required:
                raise InvalidRequest(f"{name} is required: {member.allowed}")
        elif not member.fits(value):
            raise InvalidRequest(f"{name} must be {member.allowed}")
        else:
            options[name] = value
    return options


def asked(query: bytes, parameters: Parameters) -> dict[str, Any]:
    """The parameters of a query.

    Raises:
        InvalidRequest: one that is not known, stands twice, or has no valid value.
    """
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS
        )
    except ValueError as error:
        raise InvalidRequest("the query has too many parameters") from error
    found: dict[str, Any] = {}
    for name, text in pairs:
        parameter = parameters.get(name)
        if parameter is None:
            allowed = ", ".join(parameters) or "none"
            raise InvalidRequest(f"no parameter {name!r} is known; known: {allowed}")
        if name in found:
            raise InvalidRequest(f"the parameter {name} stands twice")
        try:
            found[name] = parameter.read(text)
        except ValueError as error:
            raise InvalidRequest(
                f"the parameter {name} must be {parameter.allowed}, not {text!r}"
            ) from error
    return found


def text(description: str, **schema: Any) -> Member:
    """A text; also `required=True`."""
    required = schema.pop("required", False)
    return Member(
        schema={"type": "string", "description": description, **schema},
        fits=_is_text,
        allowed="a text",
        required=required,
    )


def boolean(description: str, *, default: bool) -> Member:
    """True or false."""
    return Member(
        schema={"type": "boolean", "description": description, "default": default},
        fits=lambda value: isinstance(value, bool),
        allowed="true or false",
    )


def number(description: str, **schema: Any) -> Member:
    """A finite number."""
    return Member(
        schema={"type": "number", "description": description, **schema},
        fits=_is_number,
        allowed="a number",
    )


def texts(description: str, **schema: Any) -> Member:
    """A list of texts."""
    return Member(
        schema={
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "description": description,
            **schema,
        },
        fits=lambda value: isinstance(value, list) and all(map(_is_text, value)),
        allowed="a list of texts",
    )


def nullable(member: Member) -> Member:
    """The member, or null for what it is when it is left out."""
    return Member(
        schema={**member.schema, "type": [member.schema["type"], "null"]},
        fits=member.fits,
        allowed=f"{member.allowed}, or null",
        nullable=True,
    )


LIMIT = Parameter(
    schema={
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_LISTED,
        "default": LISTED,
    },
    description="How many at most.",
    read=lambda text: _count(text),
    allowed=f"a whole number from 1 to {MOST_LISTED}",
)
AFTER = Parameter(
    schema={"type": "string"},
    description="`next` of the page before.",
    read=str,
    allowed="a text",
)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ValueError
    count = int(text)
    if not 1 <= count <= MOST_LISTED:
        raise ValueError
    return count


def _check_json(content_types: tuple[bytes, ...]) -> None:
    if len(content_types) == 1:
        kind = content_types[0].partition(b";")[0].strip().lower()
        if kind == b"application/json":
            return
    raise UnsupportedMediaType(
        "a body needs the field Content-Type: application/json",
        (b"accept", b"application/json"),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number
        )
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidRequest("the body must be a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # RFC 8259 §4: which of them counts differs from program to program.
        raise InvalidRequest("a member stands twice in the body")
    return found


def _no_number(constant: str) -> None:
    raise InvalidRequest(f"{constant} is not JSON")


def _is_text(value: Any) -> bool:
    """A lone surrogate (`"\\ud800"`) is JSON and no text that a store could keep."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number that no float holds.
        return False
