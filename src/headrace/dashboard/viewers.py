"""Viewers: who reads the feed. Each is told once what was before, and then one frame a second.

A link may be slower than that: an hour's history is some 400 KB. While a connection takes no more, its frames are left
out, and the next one that it takes says everything anew; so of each viewer no more than its first event and one frame
wait in memory. Who takes nothing at all is cut off by the server, as any client is (`HttpLimits.write_timeout_s`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headrace.http import Exchange


class Viewers:
    """Those who read the feed now."""

    def __init__(self) -> None:
        self._knows: dict[Exchange, bool] = {}  # whether it has had the history
        self._full: set[Exchange] = set()

    def __len__(self) -> int:
        return len(self._knows)

    def add(self, exchange: Exchange) -> None:
        """One more, whose answer has begun."""
        exchange.on_gone = partial(self._gone, exchange)
        exchange.on_pause = partial(self._full.add, exchange)
        exchange.on_resume = partial(self._full.discard, exchange)
        self._knows[exchange] = False

    def tell(self, frame: bytes, before: Callable[[], bytes]) -> None:
        """An event to all who can take it; `before`: what makes the first one of whoever is new."""
        first = b""
        for viewer, knows in list(self._knows.items()):
            if viewer in self._full:
                continue
            if knows:
                viewer.write(frame)
            else:
                first = first or before()
                self._knows[viewer] = True
                viewer.write(first + frame)

    def _gone(self, exchange: Exchange) -> None:
        self._knows.pop(exchange, None)
        self._full.discard(exchange)
