"""The books: the usage ledger and the journal as the gateway keeps them.

What a round of writing does is in the ledger before its bytes leave, and a fault of either book holds nobody up: it is
told to the operator once and counted. Ledger records wait in memory and are tried again by the sweep; beyond
`MAX_UNWRITTEN_BYTES` nothing new is taken on. A journal with a gap proves nothing, so its first fault ends it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Protocol

from headrace.errors import CapacityError
from headrace.gateway.telemetry import Telemetry
from headrace.policy import AnyAction, AnyEvent

MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024
LEDGER_RETRY_S = 10.0

Journal = Callable[[float, AnyEvent, list[AnyAction]], None]


class Ledger(Protocol):
    """What the gateway needs of a usage ledger."""

    def defer(self, wake: Callable[[], None]) -> None:
        """Let records wait for `flush`, and call `wake` when the first one does."""

    def flush(self) -> None:
        """Write what waits; OSError: it cannot be written now, and waits on."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""

    def opened(
        self,
        attempt_id: int,
        request_id: int,
        backend: str,
        workload_class: str,
        at_s: float,
        *,
        input_tokens: int,
        reserved_output_tokens: int | None,
    ) -> None:
        """An attempt is about to be sent."""

    def closed(
        self,
        attempt_id: int,
        status: str,
        at_s: float,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        delivered_output_tokens: int = 0,
    ) -> object:
        """An attempt has ended."""


class Books:
    """Ledger and journal of one gateway."""

    __slots__ = ("_fault", "_journal", "_ledger", "_telemetry")

    def __init__(self, ledger: Ledger, journal: Journal | None, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._journal = journal
        self._telemetry = telemetry
        self._fault = ""

    @property
    def fault(self) -> str:
        """Why the ledger cannot be written now; empty: it can."""
        return self._fault

    def write(self) -> None:
        """Before the bytes of a round leave: put on record what they do. After a fault the sweep tries again."""
        if not self._fault:
            self._flush()

    def try_again(self) -> None:
        """After a fault: is it over?"""
        if self._fault:
            self._flush()

    def check(self) -> None:
        """Raise CapacityError while so much waits to be written that nothing new can be taken on."""
        if self._fault and self._ledger.waiting_bytes > MAX_UNWRITTEN_BYTES:
            message = "the usage ledger cannot be written; try again after the time in retry-after"
            raise CapacityError(message, LEDGER_RETRY_S)

    def record(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Write one call of the engine into the journal, if there is one."""
        if self._journal is None:
            return
        try:
            self._journal(now_s, event, actions)
        except OSError as error:
            self._journal = None
            tell_operator(f"the journal cannot be written: {error}; it ends here, and requests go on")

    def _flush(self) -> None:
        try:
            self._ledger.flush()
            self._fault = ""
        except OSError as error:
            known, self._fault = self._fault, str(error)
            self._telemetry.ledger_faults += 1
            if known != self._fault:
                tell_operator(f"the usage ledger cannot be written: {error}; its records wait in memory")


def tell_operator(message: str) -> None:
    """On stderr, which may be full or closed too."""
    with contextlib.suppress(OSError, ValueError):
        print(f"headrace: {message}", file=sys.stderr, flush=True)
