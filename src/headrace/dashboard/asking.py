"""Asking what if: hands the last hour's calls to a process of its own, and its answer back.

The simulator would hold the event loop up for seconds, and streams with it. So it runs beside the gateway, one at a
time, at the lowest priority, and is ended when it takes too long. The other workers' calls are asked for first: they
give them at their next sweep.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.dashboard.board import Board
from headrace.dashboard.ring import Ring
from headrace.fleet import Fleet
from headrace.policy.journal import encode_entry

CHUNK_CALLS: Final = 500  # encoded at once, in less than a millisecond
GIVE_S: Final = 2.5  # longest wait for other workers
TIMEOUT_S: Final = 20.0
LOOK_S: Final = 0.05


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """Another target for a share."""

    share: str
    target: Annotated[float, Meta(gt=0.0, lt=1.0)]


class Asked(msgspec.Struct):
    """What the process is told besides the calls: of each worker its second 0 (Unix) and the bytes of its calls."""

    share: str
    target: float
    workers: list[tuple[float, int]]


class Asker:
    """Asks for one worker.

    Attributes:
        wished: number of its last wish for everybody's calls.
    """

    def __init__(self, ring: Ring, board: Board) -> None:
        self.wished = 0
        self._ring = ring
        self._board = board
        self._granted: dict[int, int] = {}
        self._asking = False
        self._giving: asyncio.Task[None] | None = None

    def fault(self, wish: Wish, fleet: Fleet) -> tuple[int, str] | None:
        """Why a wish cannot be granted: status and message; None: it can."""
        if self._asking:
            return 429, "a simulation runs already; try again when it has ended"
        share = fleet.shares.get(wish.share)
        if share is None or share.report_only:
            names = ", ".join(name for name, each in fleet.shares.items() if not each.report_only)
            return 400, f"what-if: no share {wish.share!r} is steered; there are: {names or 'none'}"
        return None

    def grant(self, wishes: dict[int, int], zero_unix_s: float) -> None:
        """Give other workers the calls that they wish for, once for each wish."""
        new = {worker for worker, wished in wishes.items() if wished > self._granted.get(worker, 0)}
        self._granted |= wishes
        if new and (self._giving is None or self._giving.done()):  # what is being given comes after the wish too
            self._giving = asyncio.ensure_future(self._give(zero_unix_s))

    async def _give(self, zero_unix_s: float) -> None:
        self._board.give(zero_unix_s, await self._own())

    def ask(self, wish: Wish, fleet: Fleet, zero_unix_s: float) -> asyncio.Task[bytes]:
        """Begin; no other wish can be granted from here on until it has ended.

        Returns:
            The answer, as JSON. Its error is a RuntimeError where the process failed or took too long.
        """
        self._asking = True
        task = asyncio.ensure_future(self._asked(wish, fleet, zero_unix_s))
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._asking = False

    async def _asked(self, wish: Wish, fleet: Fleet, zero_unix_s: float) -> bytes:
        parts = [(zero_unix_s, await self._own()), *await self._others()]
        asked = Asked(wish.share, wish.target, [(zero, len(calls)) for zero, calls in parts])
        return await _answer(asked, fleet, [calls for _, calls in parts])

    async def _own(self) -> bytes:
        calls, found = list(self._ring.kept), []
        for start in range(0, len(calls), CHUNK_CALLS):
            found.append(b"".join(encode_entry(*call) for call in calls[start : start + CHUNK_CALLS]))
            await asyncio.sleep(0)
        return b"".join(found)

    async def _others(self) -> list[tuple[float, bytes]]:
        if not self._board.others:
            return []
        began_s = time.monotonic()
        self.wished = time.monotonic_ns()
        self._board.watch(self.wished)
        given: dict[int, tuple[float, bytes]] = {}
        while time.monotonic() - began_s < GIVE_S and len(given) < self._board.others:
            await asyncio.sleep(LOOK_S)
            given |= self._board.given(began_s, given)
        return list(given.values())


async def _answer(asked: Asked, fleet: Fleet, calls: list[bytes]) -> bytes:
    """Run the process. The head of what it reads: the length of the pickled wish and fleet, on a line."""
    head = pickle.dumps((asked, fleet))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "headrace.dashboard.what_if",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said = b"".join((b"%d\n" % len(head), head, *calls))
        answer, _ = await asyncio.wait_for(process.communicate(said), TIMEOUT_S)
    except TimeoutError:
        raise RuntimeError(f"the simulation took more than {TIMEOUT_S:g} s, and was ended; try again later") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the simulation ended with {process.returncode}; the gateway's stderr says why")
    return answer
