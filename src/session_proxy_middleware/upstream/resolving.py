"""From a session's host to the addresses that may be connected to.

A name is resolved once, each address is checked, and the connection is made to
exactly such an address: between check and use nothing is looked up again, so a name
that changes its mind (DNS rebinding, CVE-2020-8562) gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Any

from ..errors import ConnectFailed
from ..models import Origin
from ..rules.networks import Networks

# family, type, protocol, canonical name, address: as `getaddrinfo` gives it.
Found = tuple[int, int, int, str, tuple[Any, ...]]


async def aresolve(
    loop: asyncio.AbstractEventLoop, origin: Origin, networks: Networks
) -> list[str]:
    """The addresses of an origin, in the order to try them.

    Raises:
        ConnectFailed: none may be connected to.
        OSError: the name does not resolve.
    """
    if is_address(origin.host):
        check(origin, networks)
        return [origin.host]
    found: list[Any] = await loop.getaddrinfo(
        origin.host, origin.port, type=socket.SOCK_STREAM
    )
    return [each[4][0] for each in _allowed(found, origin, networks)]


def resolve(origin: Origin, networks: Networks) -> list[Found]:
    """`aresolve` without await; what sockets are made of."""
    found: list[Any] = socket.getaddrinfo(
        origin.host, origin.port, type=socket.SOCK_STREAM
    )
    return _allowed(found, origin, networks)


def check(origin: Origin, networks: Networks) -> None:
    """Raises `ConnectFailed` where the host is an address that is refused."""
    refusal = networks.refusal(origin.host)
    if refusal is not None:
        raise ConnectFailed(f"{origin.url}: {refusal}")


def is_address(host: str) -> bool:
    """Whether it is an address as it is written, and no name to resolve. `0x7f.1`
    and the like are names here: what they mean, the resolver says."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _allowed(found: list[Found], origin: Origin, networks: Networks) -> list[Found]:
    refusals = [networks.refusal(each[4][0]) for each in found]
    allowed = [
        each for each, refusal in zip(found, refusals, strict=True) if refusal is None
    ]
    if not allowed:
        reasons = "; ".join(dict.fromkeys(filter(None, refusals)))
        raise ConnectFailed(f"{origin.url}: {reasons}")
    return allowed
