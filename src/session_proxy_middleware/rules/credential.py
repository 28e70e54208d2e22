"""The bearer key in a request (RFC 6750 §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from ..errors import InvalidCredential, Unauthenticated


def bearer(fields: Sequence[bytes]) -> bytes:
    """The token of the request's Authorization fields.

    Raises:
        Unauthenticated: no field, or one of another scheme.
        InvalidCredential: two fields, or one that two were joined into, since only
            one of them would be checked (CVE-2021-32777); or an empty token.
    """
    if not fields:
        raise Unauthenticated("no Authorization field")
    if len(fields) > 1 or b"," in fields[0]:
        raise InvalidCredential("more than one Authorization field")
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
