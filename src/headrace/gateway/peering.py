"""Peering: once per interval the engine's own report goes out, and what the peers said comes in as one event.

It is a task of its own, so a medium that is slow or gone delays no request. What the engine hears is an event like any
other, and in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

import msgspec

from headrace.gateway.driver import Gateway
from headrace.peers import Heard, Peers, decode_report, encode_report
from headrace.policy import PeersReported, signed, summed


class Peering:
    """Exchanges for one gateway, until `close`."""

    def __init__(self, gateway: Gateway, peers: Peers, interval_s: float) -> None:
        self._gateway = gateway
        self._peers = peers
        self._interval_s = interval_s
        self._name = secrets.token_hex(8)  # of this engine: one that takes its place counts from nothing
        self._alone = True
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Exchange once, so that the first request meets what is known, and go on in the background."""
        await self.once()
        self._task = asyncio.ensure_future(self._go_on())

    async def once(self) -> None:
        """Say and hear; the engine is told unless nobody was and is there."""
        heard = await self._peers.exchange(encode_report(signed(self._gateway.engine.report(), self._name)))
        reports, as_of_s = _readable(heard)
        if reports or not self._alone:
            self._alone = not reports
            now_s = self._gateway.now_s()
            age_s = max(time.monotonic() - as_of_s, 0.0) if reports else 0.0
            self._gateway.tell(summed(max(now_s - age_s, 0.0), reports, self._name))

    async def close(self) -> None:
        """Stop, and leave."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._peers.close()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self.once()


def _readable(heard: list[Heard]) -> tuple[list[PeersReported], float]:
    """What can be read (a peer may speak another version), and when the oldest of it was true."""
    reports, as_of_s = [], time.monotonic()
    for each in heard:
        with contextlib.suppress(msgspec.DecodeError):
            reports.append(decode_report(each.data))
            as_of_s = min(as_of_s, each.as_of_s)
    return reports, as_of_s
