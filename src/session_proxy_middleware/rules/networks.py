"""Which addresses a session may have: checked on the one that is connected to."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from ..errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED: dict[Network, str] = {
    ip_network(network): name
    for network, name in (
        # What a cloud tells its machines (credentials among it) lies mostly here:
        # 169.254.169.254 at most of them, 169.254.170.2 for containers at AWS.
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("fd00:ec2::/32", "metadata of AWS"),
        ("fd20:ce::254/128", "metadata of Google Cloud"),
        ("168.63.129.16/32", "metadata of Azure"),
        ("100.100.100.200/32", "metadata of Alibaba Cloud"),
        ("192.0.0.192/32", "metadata of Oracle Cloud"),
        ("fd00:c1::a9fe:a9fe/128", "metadata of Oracle Cloud"),
        # Connecting to "this host" reaches the proxy's own machine (RFC 1122
        # §3.2.1.3), past any rule about 127.0.0.0/8.
        ("0.0.0.0/8", "this host"),
        ("::/128", "this host"),
        # Of no single machine.
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("255.255.255.255/32", "broadcast"),
    )
}
"""Where no session is unless somebody says so."""

_LAST_BYTES = tuple(
    ip_network(prefix)
    for prefix in (
        "::/96",  # IPv4-compatible (RFC 4291 §2.5.5.1)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765 §2.1)
        "64:ff9b::/96",  # NAT64 (RFC 6052 §2.1)
        "64:ff9b:1::/48",  # NAT64 of one's own (RFC 8215)
    )
)
_NAT64_OWN = _LAST_BYTES[-1]
_ISATAP = (b"\0\0\x5e\xfe", b"\2\0\x5e\xfe")
"""How an interface id begins that ends in an IPv4 address (RFC 5214 §6.1)."""
_NAT64_LENGTHS = (48, 56, 64)
"""Prefixes in bits; RFC 6052 §2.2. That of 96 ends in the address."""


class Networks:
    """Where connections may go. `allowed` are networks like `10.0.0.0/8`.

    None allows every address but those of `REFUSED`. With a list only those in it
    are allowed, and those of `REFUSED` only where a listed network lies within
    theirs: `0.0.0.0/0` does not mean the metadata of one's cloud.

    Raises:
        ConfigError: not a list of networks.
    """

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        self._allowed: list[Network] | None = None
        self._listed: list[Network] = []
        if allowed is None:
            return
        if isinstance(allowed, str | bytes) or not isinstance(allowed, Collection):
            raise ConfigError(
                f"allowed_networks must be a list of networks, not {allowed!r}"
            )
        self._allowed = [_network(each) for each in allowed]
        self._listed = [
            each
            for each in self._allowed
            if any(_within(each, refused) for refused in REFUSED)
        ]

    @property
    def names_allowed(self) -> bool:
        """Whether a name may be left to somebody else to resolve, unchecked."""
        return self._allowed is None

    def refusal(self, address: str) -> str | None:
        """Why nothing may be connected to `address`, or None where it may.

        IPv6 addresses that stand for an IPv4 one count as that one, too.
        """
        try:
            found = _plain(ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{address!r} is no address"
        for meant in (found, *_embedded(found)):
            for network, name in REFUSED.items():
                if meant in network and not any(meant in each for each in self._listed):
                    return (
                        f"{address} is in {network} ({name}), which allowed_networks "
                        "does not list"
                    )
        if self._allowed is not None and not any(
            found in each for each in self._allowed
        ):
            return f"{address} is in none of allowed_networks"
        return None


def _network(value: object) -> Network:
    try:
        if not isinstance(value, str):
            raise ValueError("not text")
        network = ip_network(value)
    except ValueError as error:
        raise ConfigError(
            "allowed_networks must be networks like '10.0.0.0/8' or 'fd00::/8', "
            f"not {value!r}: {error}"
        ) from error
    if isinstance(_plain(network.network_address), IPv4Address) and network.version > 4:
        raise ConfigError(f"allowed_networks: write {value!r} as IPv4")
    return network


def _within(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.prefixlen >= other.prefixlen
        and network.network_address in other
    )


def _plain(address: Address) -> Address:
    """`::ffff:10.0.0.1` is 10.0.0.1: the system connects to that over IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _embedded(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that a gateway would take an IPv6 address for."""
    if isinstance(address, IPv4Address) or int(address) < 2**16:  # "::1" is itself.
        return []
    found: list[IPv4Address] = []
    packed = address.packed
    if any(address in prefix for prefix in _LAST_BYTES):
        found.append(IPv4Address(packed[12:]))
    if address in _NAT64_OWN:
        without = packed[:8] + packed[9:]  # RFC 6052 §2.2: the ninth byte is empty.
        guesses = [without[bits // 8 : bits // 8 + 4] for bits in _NAT64_LENGTHS]
        # Which length it is, only the gateway knows: read with another, zeros.
        found += [IPv4Address(guess) for guess in guesses if guess[0]]
    if packed[8:12] in _ISATAP:
        found.append(IPv4Address(packed[12:]))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.append(address.teredo[1])
    return found
