"""The emulator in a process of its own, so that emulated silicon and the gateway do not take turns on one core.

The child holds one end of a pipe. It sends what it listens on, or why it cannot, and then waits for the other end to
close: closing is how it is told to stop, and what the operating system does for a parent that was killed.
"""

from __future__ import annotations

import asyncio
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection

import uvloop

from headrace.emulate.emulator import Emulator
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 1.0


class EmulatorProcess:
    """Every emulated backend of a fleet, on free loopback ports of a child process.

    Attributes:
        urls: where each emulated backend listens, by name.
    """

    def __init__(self, fleet: Fleet, seed: int = 0) -> None:
        """Raises ConfigError: the emulator did not start."""
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(fleet, seed, theirs), name="headrace-emulator", daemon=True)
        self._process.start()
        theirs.close()
        self.urls: dict[str, str] = self._started()

    def stop(self) -> None:
        """End the child; nothing happens if it has ended."""
        self._pipe.close()
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _started(self) -> dict[str, str]:
        try:
            found = self._pipe.recv() if self._pipe.poll(START_TIMEOUT_S) else "it did not answer in time"
        except EOFError:
            found = "it ended at once"
        if isinstance(found, dict):
            return found
        self.stop()
        raise ConfigError("emulator", [Fault("start", str(found))])


def _run(fleet: Fleet, seed: int, pipe: Connection) -> None:
    """The child's life. Ctrl-C reaches the whole terminal, but only the parent decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(fleet, seed, pipe))


async def _serve(fleet: Fleet, seed: int, pipe: Connection) -> None:
    stop = asyncio.Event()
    emulator = Emulator(fleet, seed)
    try:
        pipe.send(await emulator.start(ephemeral=True))
    except OSError as error:
        pipe.send(f"cannot listen: {error}")
        return
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    await stop.wait()
    await emulator.stop()
