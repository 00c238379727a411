"""A gateway over emulated providers in a thread of its own, for clients that wait for their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop
from emulated_rig import emulated

from headrace.fleet import Limits


class Background:
    """What the test sees of it.

    Attributes:
        port: where it listens.
        faults: what the event loop was told of and nobody handled.
    """

    def __init__(self) -> None:
        self.port = 0
        self.faults: list[str] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def in_background(*dialects: str) -> Iterator[Background]:
    """A gateway in front of backends of these dialects."""
    background, ready = Background(), threading.Event()
    stop: list[Any] = []

    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, told: background.faults.append(repr(told)))
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        async with emulated(*dialects, limits=Limits(queue_timeout_s=1.0)) as live:
            background.port = live.gateway.port
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: uvloop.run(run()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield background
    finally:
        stop[0]()
        thread.join(30)
