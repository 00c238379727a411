"""The books: the usage ledger and the journal as the gateway keeps them.

What a round of writing does is in the ledger before its bytes leave, and a fault of either book holds nobody up: it is
told to the operator once and counted. Ledger records wait in memory and are tried again by the sweep; beyond
`MAX_UNWRITTEN_BYTES` nothing new is taken on. A journal with a gap proves nothing, so its first fault ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from headrace.errors import CapacityError
from headrace.fleet import Fleet
from headrace.gateway.telemetry import Telemetry
from headrace.ledger import Terms, fleet_terms
from headrace.metrics import Metric
from headrace.policy import AnyAction, AnyEvent, Dispatch, DispatchReason
from headrace.telemetry import tell
from headrace.wire import Usage

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt

FIRST_REASON: Final = DispatchReason.FIRST  # a member, and its value, are looked up in Python, for every request
FIRST: Final = FIRST_REASON.value
MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024
LEDGER_RETRY_S = 10.0

Journal = Callable[[float, AnyEvent, list[AnyAction]], None]


class Ledger(Protocol):
    """What the gateway needs of a usage ledger."""

    def defer(self, wake: Callable[[], None]) -> None:
        """Let records wait for `flush`, and call `wake` when the first one does."""

    def flush(self) -> None:
        """Write what waits; OSError: it cannot be written now, and waits on."""

    def maintain(self) -> None:
        """About once a second: what is to be done besides; OSError: it cannot be done now."""

    @property
    def run_id(self) -> str:
        """Names this run of the gateway among all."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""

    @property
    def unsynced_bytes(self) -> int:
        """Bytes that were written and not forced to the disk."""

    def agree(self, terms: Iterable[Terms]) -> None:
        """Attempts on these backends are on these terms from now on."""

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
        api: str = "",
        reason: str = "first",
        tenant: str = "default",
        key: str = "",
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
    """Ledger and journal of one gateway.

    Attributes:
        journal: of every call of the engine; None: there is none.
    """

    __slots__ = ("_fault", "_ledger", "_telemetry", "_told", "journal")

    def __init__(self, ledger: Ledger, journal: Journal | None, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self.journal = journal
        self._telemetry = telemetry
        self._fault = self._told = ""
        telemetry.sources.append(self._metrics)

    @property
    def fault(self) -> str:
        """Why the ledger cannot be written now; empty: it can."""
        return self._fault

    def agree(self, fleet: Fleet) -> None:
        """What comes from now on is on the terms of this fleet."""
        self._ledger.agree(fleet_terms(fleet))

    def opened(self, now_s: float, attempt: Attempt, action: Dispatch) -> None:
        """An attempt is about to be sent."""
        request, lowered = attempt.request, action.max_output_tokens
        self._ledger.opened(
            action.attempt_id,
            action.request_id,
            action.backend,
            request.workload_class,
            now_s,
            input_tokens=request.input_tokens,
            reserved_output_tokens=request.max_output_tokens if lowered is None else lowered,
            api=request.api,
            reason=FIRST if action.reason is FIRST_REASON else action.reason.value,
            tenant=request.tenant,
            key="" if request.caller is None else request.caller.key,
        )

    def closed(self, now_s: float, attempt_id: int, status: str, usage: Usage | None, delivered_tokens: int) -> None:
        """An attempt has ended; without its backend's usage, so many tokens are known to have been delivered."""
        if usage is None:
            self._ledger.closed(attempt_id, status, now_s, delivered_output_tokens=delivered_tokens)
            return
        input_tokens, output_tokens, cached_input_tokens, _, _ = usage
        self._ledger.closed(
            attempt_id,
            status,
            now_s,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=cached_input_tokens,
            delivered_output_tokens=output_tokens,
        )

    def write(self) -> None:
        """Before the bytes of a round leave: put on record what they do. After a fault the sweep tries again."""
        if not self._fault:
            try:
                self._ledger.flush()
            except OSError as error:
                self._fail(error)

    def maintain(self) -> None:
        """About once a second: is a fault over, and what is to be done besides?"""
        if self._fault:
            self._fault = ""
            self.write()
        if not self._fault:
            try:
                self._ledger.maintain()
                self._told = ""
            except OSError as error:
                self._tell(error)

    def check(self) -> None:
        """Raise CapacityError while so much waits to be written that nothing new can be taken on."""
        if self._fault and self._ledger.waiting_bytes > MAX_UNWRITTEN_BYTES:
            message = "the usage ledger cannot be written; try again after the time in retry-after"
            raise CapacityError(message, LEDGER_RETRY_S)

    def record(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Write one call of the engine into the journal, if there is one."""
        if self.journal is None:
            return
        try:
            self.journal(now_s, event, actions)
        except OSError as error:
            self.journal = None
            tell(f"the journal cannot be written: {error}; it ends here, and requests go on")

    def _fail(self, error: OSError) -> None:
        self._fault = str(error)
        self._tell(error)

    def _tell(self, error: OSError) -> None:
        """Count a fault, and tell the operator, unless it was the last thing that was told."""
        self._telemetry.counters.ledger_faults += 1
        if self._told != str(error):
            self._told = str(error)
            tell(f"the usage ledger cannot be written as it should be: {error}; its records wait in memory")

    def _metrics(self) -> Iterable[Metric]:
        ledger = self._ledger
        text = "Bytes of usage ledger that wait in memory to be written."
        yield Metric("headrace_ledger_unwritten_bytes", "gauge", text, ledger.waiting_bytes)
        text = "Bytes of usage ledger that were written and not forced to the disk."
        yield Metric("headrace_ledger_unsynced_bytes", "gauge", text, ledger.unsynced_bytes)
