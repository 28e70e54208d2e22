"""`Via`: through whom a request came, and whether it goes in circles (RFC 9110
§7.6.3)."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import LoopDetected
from ..models import Field

PSEUDONYM = b"session-proxy"
_VERSIONS = ("1.0", "1.1", "2", "3")

MAX_PASSES = 2
"""A portal behind another portal passes this proxy twice, and that is no loop."""

FIELDS: dict[str, Field] = {
    version: (b"via", b"%b %b" % (said.encode(), PSEUDONYM))
    # granian says 1 of HTTP/1.0.
    for version, said in (*zip(_VERSIONS, _VERSIONS, strict=True), ("1", "1.0"))
}
"""What goes on behind the fields that came: this proxy, and the version in which the
request was received."""


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
