"""Bodies that the parser does not read: those of requests that ask for an upgrade.

Some clients ask for `h2c` with every first request and take an HTTP/1.1 answer as a no. The parser takes what follows
such a head for another protocol, so a body of known length is collected here.
"""

from __future__ import annotations

from headrace.http.exchange import Exchange


class PlainBody:
    """The body that still has to come for one request.

    Attributes:
        missing_bytes: how much of it has not come.
    """

    __slots__ = ("_pieces", "exchange", "missing_bytes")

    def __init__(self, exchange: Exchange) -> None:
        """The connection is closed after this exchange."""
        exchange._keep_alive = False
        self.exchange = exchange
        self._pieces: list[bytes] = []
        self.missing_bytes = int(exchange.headers.get(b"content-length", b"0"))

    def feed(self, data: bytes) -> bool:
        """Take a piece; returns whether the request is complete. What follows it is dropped."""
        piece = data[: self.missing_bytes]
        self._pieces.append(piece)
        self.missing_bytes -= len(piece)
        if self.missing_bytes:
            return False
        self.exchange.body = b"".join(self._pieces)
        return True
