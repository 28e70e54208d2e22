"""What a principal may use."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from ..errors import ConfigError, Forbidden, ServiceNotFound
from ..models import Principal
from . import path as paths

# What a decoded path may hold. A query or a fragment is none of it.
_ABSOLUTE = re.compile(r"/[^\x00-\x1f\x7f?#\\]*")


def check_service(principal: Principal, service: str) -> None:
    """Raises `ServiceNotFound` unless the principal's scope names the service.

    Whole names only, case matters: `api` opens neither `api2` nor `API`.
    """
    scopes = principal.services
    if "*" in scopes or service in scopes:
        return
    if not any(fnmatchcase(service, scope) for scope in scopes):
        raise ServiceNotFound("outside the key's services")


def check_request(principal: Principal, method: str, path: str) -> None:
    """Raises `Forbidden` for a method or decoded path outside the scope.

    An allow list errs on the narrow side: `//status` is not `/status`, since the
    session's router may not think so either.
    """
    if principal.methods is not None and method not in principal.methods:
        raise Forbidden("outside the key's methods")
    if principal.paths is not None and not any(
        path == scope or path.startswith(scope.rstrip("/") + "/")
        for scope in principal.paths
    ):
        raise Forbidden("outside the key's paths")


def reserved_paths(values: object) -> frozenset[str]:
    """The option `reserved_paths`, checked.

    Raises:
        ConfigError: not a collection of absolute paths.
    """
    if isinstance(values, str) or not isinstance(
        values, tuple | list | set | frozenset
    ):
        raise ConfigError(
            f"reserved_paths must be a list of paths like ['/bot'], not {values!r}"
        )
    for value in values:
        if not isinstance(value, str) or not _ABSOLUTE.fullmatch(value):
            raise ConfigError(
                f"reserved_paths must hold absolute paths like '/bot', not {value!r}"
            )
        # It is compared with decoded paths, of which none has a dot segment: such
        # an entry would never match, and reserve nothing.
        if "%" in value or {".", ".."} & set(value.split("/")):
            raise ConfigError(
                "reserved_paths must hold decoded paths without '%' or dot segments, "
                f"not {value!r}"
            )
    return frozenset(paths.plain(value) for value in values)
