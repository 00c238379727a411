"""The lines of a usage ledger: JSON objects, told apart by `kind`, and how they are read back.

A run is one process that writes. Attempt ids count from 1 in each run, and runs from 1 in each file: what names an
attempt for good, over all files, workers and gateways, is (run id, attempt id), where the run id is drawn at random
when the run starts. Runs recorded before there were run ids get one from what they say of themselves, so that a copy
of their file gives the same.

What holds for every attempt on a backend (its pool, its model, what a token costs) is written once a run, as numbered
`terms`, and an attempt says only which: prices change, and each attempt is billed by those of its dispatch.

A file may go on from the one before it (`segment`); then its `run` line, the terms and the attempts that are open are
repeated at its head, so that it can be read without those before.

The file is append-only, so a writer that dies can leave one torn line, and the next start writes `recovered` below it.
Lines that cannot be read are therefore forgiven at the end of the file and above such a mark, and reported; anywhere
else they are damage and an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

import msgspec

from headrace.errors import TraceError


class AttemptStatus(StrEnum):
    """How an attempt stands."""

    OPEN = "open"  # dispatched; its process still runs, or died and nobody has recovered the file
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # its process died; found at the next start


class RunStarted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="run"):
    """A process began to write. Times of its records count from its own start, which was at `started_unix_s`.

    Attributes:
        id: names the run among all; empty in files of before there were run ids.
        segment: above 1: the run began in an earlier file, and goes on here.
    """

    run: int
    started_unix_s: float
    id: str = ""
    segment: int = 1


class Recovered(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="recovered"):
    """The file was repaired here: lines just above that cannot be read were torn by the death of their writer."""

    interrupted: int


class Terms(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="terms"):
    """What holds for attempts on a backend that name `number`. Prices are what a token adds, as `cost` says; under
    hourly terms that is its energy."""

    run: int
    number: int
    backend: str
    pool: str
    model: str
    input_usd_per_token: float
    cached_input_usd_per_token: float
    output_usd_per_token: float


class Opened(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="opened"):
    """An attempt was dispatched.

    Attributes:
        input_tokens: as estimated.
        reserved_output_tokens: the most it may produce; None: nobody set a bound.
        terms: number of the backend's terms in this run; None: nobody said.
        api: the API that the client speaks; empty: nobody said.
        reason: why it was made: first, retry, rescue, hedge.
        key: name of the API key that it came with; empty: none.
    """

    run: int
    attempt_id: int
    request_id: int
    backend: str
    workload_class: str
    at_s: float
    input_tokens: int
    reserved_output_tokens: int | None
    terms: int | None = None
    api: str = ""
    reason: str = "first"
    tenant: str = "default"
    key: str = ""


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


Record = RunStarted | Recovered | Terms | Opened | Closed | Interrupted
Key = tuple[str, int]  # run id and attempt id

_DECODER = msgspec.json.Decoder(Record)


def run_id_of(record: RunStarted) -> str:
    """What names this run among all."""
    said = f"{record.run} {record.started_unix_s!r}".encode()
    return record.id or blake2b(said, digest_size=8).hexdigest()


@dataclass(slots=True)
class LedgerState:
    """What a pass over a ledger leaves behind.

    Attributes:
        open: attempts without an end, in the order of their dispatch.
        runs: of the file being read: the run ids of its runs.
        last_run: highest run number seen; 0 in a new file.
        started_unix_s: wall time at which each run's seconds begin, by run id.
        terms: by run id and number.
        records: records that could be read.
        torn: lines that could not be read, with their numbers.
        unrepaired: the torn lines are at the end of the file, with no mark below them.
        ends_with_newline: whether the next record starts on a line of its own.
    """

    open: dict[Key, Opened] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)
    last_run: int = 0
    started_unix_s: dict[str, float] = field(default_factory=dict)
    terms: dict[tuple[str, int], Terms] = field(default_factory=dict)
    records: int = 0
    torn: list[tuple[int, bytes]] = field(default_factory=list)
    unrepaired: bool = False
    ends_with_newline: bool = True

    def run_id(self, run: int) -> str:
        """Of a run of the file being read; one whose first line is lost goes by its number."""
        return self.runs.get(run) or str(run)

    def key(self, record: Opened | Closed | Interrupted) -> Key:
        """The attempt that a record of the file being read is about."""
        return self.run_id(record.run), record.attempt_id

    def _see(self, record: Record) -> None:
        self.records += 1
        if isinstance(record, Recovered):
            return
        self.last_run = max(self.last_run, record.run)
        if isinstance(record, RunStarted):
            self.runs[record.run] = run_id_of(record)
            self.started_unix_s[self.runs[record.run]] = record.started_unix_s
        elif isinstance(record, Terms):
            self.terms[self.run_id(record.run), record.number] = record


def decode_records(
    path: str, lines: Iterable[bytes], state: LedgerState | None = None, first_line: int = 1
) -> Iterator[Record]:
    """The records of a ledger's lines.

    Args:
        path: for messages.
        state: filled while reading, `open` excepted.
        first_line: number of the first of them in the file.

    Raises:
        TraceError: a line in the middle cannot be read.
    """
    state = state or LedgerState()
    damaged: int | None = None  # first of the unreadable lines just above
    for number, line in enumerate(lines, start=first_line):
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
        state._see(record)
        yield record
    state.unrepaired = damaged is not None
