"""The answer to a request for another protocol: a 101, or any other response."""

from __future__ import annotations

from httptools import HttpParserUpgrade

from .h1 import MAX_HEAD_FIELDS, ProtocolViolation, ResponseReader


class UpgradeReader(ResponseReader):
    """A `ResponseReader` for one such answer, of which a 101 is the final one. `rest`
    then holds what came behind it: the first bytes of the other protocol."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        super().__init__()
        self.rest = b""

    def feed(self, data: bytes | memoryview) -> None:
        """See `ResponseReader`."""
        try:
            super().feed(data)
        except ProtocolViolation as violation:
            upgrade = violation.__context__
            if self._message.status != 101 or not isinstance(
                upgrade, HttpParserUpgrade
            ):
                raise
            self.rest = bytes(data[upgrade.args[0] :])

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() == 101:
            if len(self._message.headers) > MAX_HEAD_FIELDS:
                raise ProtocolViolation("the response has too many header fields")
            self._message.status = 101
            self._message.head = self._message.complete = True
        else:
            super().on_headers_complete()
