"""`Via`: through whom a request came, and whether it goes in circles (RFC 9110
§7.6.3)."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import LoopDetected
from ..models import Field

PSEUDONYM = b"session-proxy"
MAX_PASSES = 2
"""A portal behind another portal passes this proxy twice, and that is no loop."""

_OURS: dict[str, Field] = {
    version: (b"via", b"%b %b" % (version.encode(), PSEUDONYM))
    for version in ("1.0", "1.1", "2", "3")
}


def extended(received: Sequence[bytes], http_version: str) -> Field:
    """The field as it goes on: what came, and behind it this proxy, with the version
    in which the request came."""
    ours = _OURS.get(http_version) or _OURS["1.1"]
    return (b"via", b", ".join((*received, ours[1]))) if received else ours


def check(received: Sequence[bytes]) -> None:
    """Raises `LoopDetected` for a request that has passed here `MAX_PASSES` times."""
    # Comments (§5.6.5) are not left out: an open parenthesis in the client's part
    # would hide ours behind it.
    passes = sum(
        _received_by(member) == PSEUDONYM
        for value in received
        for member in value.split(b",")
    )
    if passes >= MAX_PASSES:
        raise LoopDetected(f"passed here {passes} times already")


def _received_by(member: bytes) -> bytes:
    """The host or pseudonym of one member, without a port; whole, so that
    `session-proxy-2` is another."""
    words = member.split()
    return words[1].partition(b":")[0].lower() if len(words) > 1 else b""
