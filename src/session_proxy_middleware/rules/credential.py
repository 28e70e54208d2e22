"""The bearer key in a request (RFC 6750 §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from ..errors import InvalidCredential, Unauthenticated
from .headers import RequestFields


def check_single(fields: Sequence[bytes]) -> None:
    """Raises `InvalidCredential` for two Authorization fields, or a Bearer that two
    were joined into: only one of them would be checked (CVE-2021-32777)."""
    if len(fields) > 1 or (
        fields and b"," in fields[0] and fields[0][:7].lower() == b"bearer "
    ):
        raise InvalidCredential("more than one Authorization field")


def bearer(fields: Sequence[bytes]) -> bytes:
    """The token of the request's one Authorization field.

    Raises:
        Unauthenticated: no field, or one of another scheme.
        InvalidCredential: two fields, or an empty token.
    """
    if not fields:
        raise Unauthenticated("no Authorization field")
    check_single(fields)
    scheme, _, token = fields[0].partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("not a Bearer credential")
    token = token.strip(b" ")
    if not token:
        raise InvalidCredential("an empty token")
    return token


def digest(token: bytes) -> bytes:
    """What a store knows a secret by: its SHA-256."""
    return sha256(token).digest()


def key_digest(fields: RequestFields) -> bytes:
    """The digest of the request's bearer token. Raises as `bearer` does."""
    found = fields.digest
    if found is None:
        found = fields.digest = digest(bearer(fields.authorization))
    return found
