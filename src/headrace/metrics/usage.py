"""The lines of a usage ledger: JSON objects, told apart by `kind`, and how they are read back.

Attempt ids are unique within a run only; (run, attempt_id) is unique in the file.

The file is append-only, so a writer that dies can leave one torn line, and the next start writes `recovered` below it.
Lines that cannot be read are therefore forgiven at the end of the file and above such a mark, and reported; anywhere
else they are damage and an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from headrace.errors import TraceError


class AttemptStatus(StrEnum):
    """How an attempt stands."""

    OPEN = "open"  # dispatched; its process still runs, or died and nobody has recovered the file
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # its process died; found at the next start


class RunStarted(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="run"):
    """A process began to write. Times of its records count from its own start, which was at `started_unix_s`."""

    run: int
    started_unix_s: float


class Recovered(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="recovered"):
    """The file was repaired here: lines just above that cannot be read were torn by the death of their writer."""

    interrupted: int


class Opened(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="opened"):
    """An attempt was dispatched. `input_tokens` is what was estimated, `reserved_output_tokens` the most it may produce
    (None: nobody set a bound)."""

    run: int
    attempt_id: int
    request_id: int
    backend: str
    workload_class: str
    at_s: float
    input_tokens: int
    reserved_output_tokens: int | None


class Closed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="closed"):
    """An attempt ended. Token counts are the backend's own usage; absent: it did not say."""

    run: int
    attempt_id: int
    status: str
    at_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    delivered_output_tokens: int = 0


class Interrupted(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="interrupted"):
    """An attempt was open when its process died. Its true count is in [delivered, reserved]."""

    run: int
    attempt_id: int
    delivered_output_tokens: int
    reserved_output_tokens: int | None


Record = RunStarted | Recovered | Opened | Closed | Interrupted

_DECODER = msgspec.json.Decoder(Record)


@dataclass(slots=True)
class LedgerState:
    """What a pass over a file leaves behind.

    Attributes:
        open: attempts without an end, in the order of their dispatch.
        last_run: highest run number seen; 0 in a new file.
        started_unix_s: wall time at which each run's seconds begin.
        records: records that could be read.
        torn: lines that could not be read, with their numbers.
        unrepaired: the torn lines are at the end of the file, with no mark below them.
        ends_with_newline: whether the next record starts on a line of its own.
    """

    open: dict[tuple[int, int], Opened] = field(default_factory=dict)
    last_run: int = 0
    started_unix_s: dict[int, float] = field(default_factory=dict)
    records: int = 0
    torn: list[tuple[int, bytes]] = field(default_factory=list)
    unrepaired: bool = False
    ends_with_newline: bool = True


def decode_records(path: str, lines: Iterable[bytes], state: LedgerState | None = None) -> Iterator[Record]:
    """The records of a ledger's lines.

    Args:
        path: for messages.
        state: filled while reading, `open` excepted.

    Raises:
        TraceError: a line in the middle cannot be read.
    """
    state = state or LedgerState()
    damaged: int | None = None  # first of the unreadable lines just above
    for number, line in enumerate(lines, start=1):
        state.ends_with_newline = line.endswith(b"\n")
        try:
            record = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            state.torn.append((number, line))
            damaged = damaged or number
            continue
        if damaged is not None and not isinstance(record, RunStarted | Recovered):
            raise TraceError(path, damaged, "this line of the ledger is damaged; restore the file from a copy")
        damaged = None
        state.records += 1
        if not isinstance(record, Recovered):
            state.last_run = max(state.last_run, record.run)
        if isinstance(record, RunStarted):
            state.started_unix_s[record.run] = record.started_unix_s
        yield record
    state.unrepaired = damaged is not None
