"""Watching files of the operator's: keys and certificates, looked at beside the event loop, twice a second.

So a key that is revoked holds for half a second more, on every worker. A look that changes nothing is a `stat` or two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

LOOK_S = 0.5

Look = tuple[Callable[[], bool], Callable[[], Awaitable[None]] | None]


class Watch:
    """Looks at files until it is stopped.

    Args:
        looks: what looks (in a thread; returns whether something changed), and what is awaited then.
    """

    def __init__(self, looks: Sequence[Look], every_s: float = LOOK_S) -> None:
        self._looks = looks
        self._every_s = every_s
        self._task = asyncio.ensure_future(self._run()) if looks else None

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._every_s)
            for look, changed in self._looks:
                try:
                    if await asyncio.to_thread(look) and changed is not None:
                        await changed()
                except Exception as error:  # whatever it is, keys must go on being looked at
                    loop.call_exception_handler(
                        {"message": "a watched file could not be looked at", "exception": error}
                    )
