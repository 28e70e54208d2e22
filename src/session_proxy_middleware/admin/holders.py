"""The admin keys: who holds one, told apart in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from ..rules.credential import digest
from ..stores.new_keys import chosen

AdminKeys = Mapping[str, str] | Iterable[str]
"""Secrets, each under the id that audit records show; of a mere list the ids are
`admin-1`, `admin-2` and so on."""

PUBLIC = "pk_"


class Holders:
    """Who holds an admin key. Only their SHA-256 are kept.

    Raises:
        ConfigError: there is none, or one is short, no token, a public key, or there
            twice. The text names its id and never holds the secret.
    """

    def __init__(self, keys: AdminKeys) -> None:
        named = _named(keys)
        self._digests: dict[str, bytes] = {}
        for id, secret in named.items():
            if not isinstance(id, str) or not id or not id.isprintable():
                raise ConfigError(f"keys must have printable ids, not {id!r}")
            found = digest(chosen(f"admin key {id!r}", secret).encode("ascii"))
            if secret.startswith(PUBLIC):
                raise ConfigError(
                    f"admin key {id!r} must not be a public key (pk_…): the two are "
                    "never the same"
                )
            if found in self._digests.values():
                raise ConfigError(f"admin key {id!r} is the same as another")
            self._digests[id] = found

    def __repr__(self) -> str:
        return f"Holders({', '.join(self._digests)})"

    def holder(self, token: bytes) -> str | None:
        """The id of the admin key, or None. Every key is compared, each in constant
        time, so that nothing is to be learnt from how long it takes."""
        presented = digest(token)
        found = None
        for id, known in self._digests.items():
            if hmac.compare_digest(presented, known):
                found = id
        return found


def _named(keys: AdminKeys) -> Mapping[str, str]:
    if isinstance(keys, Mapping):
        named = keys
    elif isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        # The value is not shown: it may be a secret.
        raise ConfigError(
            "keys must be a list of admin keys, or a mapping of their ids"
        )
    else:
        named = {f"admin-{number}": key for number, key in enumerate(keys, 1)}
    if not named:
        raise ConfigError("keys must hold an admin key: the admin API is never open")
    return named
