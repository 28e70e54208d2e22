"""Counting a request's body against what was declared and what is allowed."""

from __future__ import annotations

from ..errors import BodyTooLarge, InternalError, MalformedHeaders


class BodyMeter:
    """Fed with every piece of a body. `received` is the count so far, `begun` whether
    there was a piece, if an empty one.

    `upgrade`: the request asked for another protocol, too.
    """

    __slots__ = ("_declared", "_limit", "_upgrade", "begun", "received")

    def __init__(
        self, declared: int | None, limit: int | None, *, upgrade: bool = False
    ) -> None:
        self._declared = declared
        self._limit = limit
        self._upgrade = upgrade
        self.received = 0
        self.begun = False

    @property
    def whole(self) -> bool:
        """Whether all that was declared has come."""
        return self.received == self._declared

    def count(self, data: bytes, ended: bool) -> None:
        """Add a piece; `ended` says that it is the last.

        Raises:
            BodyTooLarge: more than the limit.
            InternalError: not the declared number of bytes, so something between
                the server and the proxy has consumed or changed the body.
            MalformedHeaders: none at all, of a request that asks for an upgrade:
                some servers take what follows for the other protocol.
        """
        self.begun = True
        self.received += len(data)
        if self._limit is not None and self.received > self._limit:
            raise BodyTooLarge(f"over {self._limit} bytes")
        declared = self._declared
        if declared is not None and (
            self.received > declared or (ended and self.received < declared)
        ):
            if self._upgrade and not self.received:
                raise MalformedHeaders("a body beside an upgrade")
            raise InternalError(
                f"the request declared a body of {declared} bytes and "
                f"{self.received} arrived: a middleware outside the proxy consumed "
                "or changed it; mount the proxy outermost"
            )


def check_declared(length: int | None, limit: int | None) -> None:
    """Raises `BodyTooLarge` for a declared length over the limit."""
    if limit is not None and length is not None and length > limit:
        raise BodyTooLarge(f"{length} bytes declared, {limit} allowed")
