"""Operations on the public keys. Their digests are never shown, their secrets once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..errors import METHODS, SecretTaken
from ..models import KEY_OVERLAP, SHORTEST_SECRET, Key
from .errors import Conflict, InvalidRequest, KeyNotFound
from .members import AFTER, LIMIT, LISTED, nullable, number, text, texts
from .operation import Asked, Call, Operation, Outcome, Performed

MEMBERS = {
    "services": texts("Names or globs of the services it is for.", default=["*"]),
    "methods": nullable(
        texts(
            "The methods it may use; null for all.",
            items={"type": "string", "enum": list(METHODS)},
        )
    ),
    "paths": nullable(
        texts(
            "The paths of sessions it may use, with what lies below; null for all.",
            items={"type": "string", "pattern": "^/"},
        )
    ),
    "secret": nullable(
        text(
            "A secret of one's own: a random token of 20 characters at least, better "
            "32. Left out, one is made of 256 random bits.",
            minLength=SHORTEST_SECRET,
            writeOnly=True,
        )
    ),
    "not_before": nullable(number("Seconds since the epoch.")),
    "expires_at": nullable(number("Seconds since the epoch.")),
}
ROTATED = {
    "overlap": number(
        "Seconds that the old key is still good.", minimum=0, default=KEY_OVERLAP
    )
}


def shown(key: Key) -> dict[str, Any]:
    """A key as it is answered. Times are seconds since the epoch."""
    principal = key.principal
    return {
        "id": key.id,
        "services": list(principal.services),
        "methods": None if principal.methods is None else sorted(principal.methods),
        "paths": None if principal.paths is None else list(principal.paths),
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
        "used_at": key.used_at,
    }


def _list(asked: Asked) -> Performed:
    limit = asked.query.get("limit", LISTED)
    found: list[Key]
    found = yield Call("keys", "list", (), {**asked.query, "limit": limit + 1})
    return Outcome(
        200,
        {
            "keys": [shown(each) for each in found[:limit]],
            "next": found[limit - 1].id if len(found) > limit else None,
        },
    )


def _create(asked: Asked) -> Performed:
    secret = asked.members.get("secret")
    if secret is not None and asked.reserved(secret):
        raise InvalidRequest("secret must not be an admin key")
    try:
        key = yield Call("keys", "create", (), asked.members)
    except SecretTaken as error:
        raise Conflict(str(error)) from error
    return _new(key, {"key_id": key.id})


def _rotate(asked: Asked) -> Performed:
    id = asked.names["key_id"]
    key = yield Call("keys", "rotate", (id,), asked.members)
    if key is None:
        raise KeyNotFound(id)
    return _new(key, {})


def _new(key: Key, names: dict[str, str]) -> Outcome:
    values = shown(key)
    return Outcome(
        201,
        {**values, "secret": key.secret},
        path=f"/keys/{quote(key.id, safe='')}",
        names=names,
        values=values,
    )


def _show(asked: Asked) -> Performed:
    id = asked.names["key_id"]
    key = yield Call("keys", "find", (id,))
    if key is None:
        raise KeyNotFound(id)
    return Outcome(200, shown(key))


def _revoke(asked: Asked) -> Performed:
    id = asked.names["key_id"]
    if not (yield Call("keys", "revoke", (id,))):
        raise KeyNotFound(id)
    return Outcome(204)


_ONE = "/keys/{key_id}"
_SECRET = "The key, its secret shown here and never again."  # noqa: S105

OPERATIONS = (
    Operation(
        id="listKeys",
        action="key.list",
        method="GET",
        path="/keys",
        summary="The public keys, without their secrets.",
        perform=_list,
        query={"after": AFTER, "limit": LIMIT},
        answers={200: ("A page of keys.", "Keys")},
    ),
    Operation(
        id="createKey",
        action="key.create",
        method="POST",
        path="/keys",
        summary="A new public key.",
        perform=_create,
        members=MEMBERS,
        answers={201: (_SECRET, "NewKey")},
        refusals=(409,),
    ),
    Operation(
        id="getKey",
        action="key.show",
        method="GET",
        path=_ONE,
        summary="A public key, without its secret.",
        perform=_show,
        answers={200: ("The key.", "Key")},
        refusals=(404,),
    ),
    Operation(
        id="rotateKey",
        action="key.rotate",
        method="POST",
        path=_ONE + "/rotate",
        summary="A new key of the same scopes; the old one is good for a while yet.",
        perform=_rotate,
        members=ROTATED,
        answers={201: (_SECRET, "NewKey")},
        refusals=(404,),
    ),
    Operation(
        id="revokeKey",
        action="key.revoke",
        method="DELETE",
        path=_ONE,
        summary="Refuse the key from now on.",
        perform=_revoke,
        answers={204: ("It is revoked.", None)},
        refusals=(404,),
    ),
)
