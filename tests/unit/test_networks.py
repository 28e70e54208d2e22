"""Which addresses a session may have, in every spelling of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError
from session_proxy_middleware.rules.networks import REFUSED, Networks

ANYWHERE = Networks()

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fe80::a9fe:a9fe%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:c1::a9fe:a9fe",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "ff02::1",
    # The same in the clothes of IPv6.
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:0.0.0.0",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::6464:64c8",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
    "2002:a9fe:a9fe::1",
    "2001:db8::5efe:169.254.169.254",
    "fd00::200:5efe:a9fe:a9fe",
    "2001:0:4136:e378:8000:63bf:5601:5601",
]
ORDINARY = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "10.0.3.7",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "203.0.113.9",
    "fd00::7",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "2002:a00:1::1",
    "2001:db8::5efe:10.0.0.1",
    "240.0.0.1",
]


@pytest.mark.parametrize("address", METADATA)
def test_link_local_and_metadata_addresses_are_refused(address: str) -> None:
    refusal = ANYWHERE.refusal(address)
    assert refusal is not None
    assert address in refusal
    assert "allowed_networks" in refusal


@pytest.mark.parametrize("address", ORDINARY)
def test_loopback_private_and_public_addresses_are_allowed(address: str) -> None:
    assert ANYWHERE.refusal(address) is None


def test_the_refusal_names_the_rule() -> None:
    assert ANYWHERE.refusal("169.254.169.254") == (
        "169.254.169.254 is in 169.254.0.0/16 (link-local), "
        "which allowed_networks does not list"
    )
    only = Networks(["10.0.0.0/8"])
    assert only.refusal("127.0.0.1") == "127.0.0.1 is in none of allowed_networks"


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "::1::", "2852039166"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert ANYWHERE.refusal(address) is not None


@pytest.mark.parametrize(
    ("allowed", "address", "may"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::1", False),
        (["10.0.0.0/8"], "64:ff9b::10.0.0.1", False),
        (["10.0.0.0/8", "fd00::/8"], "fd12::1", True),
        (["10.0.0.7"], "10.0.0.7", True),
        (["10.0.0.7"], "10.0.0.8", False),
        ([], "127.0.0.1", False),
        # What is refused has to be named; all of the world does not name it.
        (["0.0.0.0/0"], "169.254.169.254", False),
        (["0.0.0.0/0"], "8.8.8.8", True),
        (["::/0"], "fe80::1", False),
        (["fd00::/8"], "fd00:ec2::254", False),
        (["100.64.0.0/10"], "100.100.100.200", False),
        (["169.254.0.0/16"], "169.254.169.254", True),
        (["169.254.0.0/16"], "::ffff:169.254.169.254", True),
        (["169.254.7.0/24"], "169.254.7.1", True),
        (["169.254.7.0/24"], "169.254.169.254", False),
        (["100.64.0.0/10", "100.100.100.200/32"], "100.100.100.200", True),
        (["fe80::/10"], "fe80::1%lo", True),
        (["64:ff9b::/96"], "64:ff9b::8.8.8.8", True),
        (["64:ff9b::/96"], "64:ff9b::169.254.169.254", False),
        (["64:ff9b::/96", "169.254.0.0/16"], "64:ff9b::169.254.169.254", True),
    ],
)
def test_a_list_allows_what_is_in_it(
    allowed: list[str], address: str, may: bool
) -> None:
    assert (Networks(allowed).refusal(address) is None) is may


@pytest.mark.parametrize(
    "allowed",
    [
        "10.0.0.0/8",
        b"\x0a\x00",
        7,
        ["10.0.0.1/8"],
        ["localhost"],
        [""],
        [None],
        [10],
        ["::ffff:10.0.0.0/104"],
    ],
)
def test_what_is_no_list_of_networks_is_told_so(allowed: object) -> None:
    with pytest.raises(ConfigError, match="allowed_networks"):
        Networks(allowed)  # type: ignore[arg-type]


def test_only_without_a_list_may_a_name_go_unchecked() -> None:
    assert ANYWHERE.names_allowed
    assert not Networks(["0.0.0.0/0", "::/0"]).names_allowed


@given(st.ip_addresses(v=4))
def test_an_address_in_the_clothes_of_ipv6_is_judged_as_itself(
    address: IPv4Address,
) -> None:
    refused = any(address in network for network in REFUSED)
    assert (ANYWHERE.refusal(str(address)) is not None) is refused
    for prefix in ("::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        dressed = IPv6Address(int(IPv6Address(prefix)) + int(address))
        assert (ANYWHERE.refusal(str(dressed)) is not None) is refused
