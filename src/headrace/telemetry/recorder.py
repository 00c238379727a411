"""The recorder: ended requests go to those who write them down, in a thread of its own.

The event loop appends to a queue and goes on. What a sink does (format, write, hand to an exporter) may wait for a disk
without anybody waiting for it. Beyond `MOST_WAITING` requests the newest are dropped, and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from headrace.metrics import Metric
from headrace.telemetry.logs import tell
from headrace.telemetry.trail import Trail

INTERVAL_S = 0.25
MOST_WAITING = 50_000

Sink = Callable[[list[Trail]], None]


class Recorder:
    """Hands trails to sinks."""

    def __init__(self, sinks: Sequence[Sink], interval_s: float = INTERVAL_S) -> None:
        self._sinks = tuple(sinks)
        self._interval_s = interval_s
        self._waiting: list[Trail] = []
        self._dropped = 0
        self._stopped = threading.Event()
        self._faults: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def add(self, trail: Trail) -> None:
        """A request has ended."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(trail)
        else:
            self._dropped += 1

    def metrics(self) -> Iterator[Metric]:
        """What was lost."""
        text = "Requests that are in no access log and no trace, because too many waited to be written."
        yield Metric("headrace_records_dropped_total", "counter", text, self._dropped)

    def close(self, wait_s: float = 5.0) -> None:
        """Write what waits."""
        self._stopped.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._hand_on()
        self._hand_on()

    def _hand_on(self) -> None:
        trails = self._waiting[:]
        del self._waiting[: len(trails)]  # not all of them: the event loop may have added some meanwhile
        for sink in self._sinks if trails else ():
            try:
                sink(trails)
            except Exception as error:  # a sink that fails must not end the others
                self._tell_once(f"{type(error).__name__}: {error}")

    def _tell_once(self, fault: str) -> None:
        if fault not in self._faults:
            self._faults.add(fault)
            tell(f"what has ended cannot be written down: {fault}; requests go on")
