"""The lines of a ledger file: JSON objects, told apart by `kind`.

Attempt ids are unique within a run only; (run, attempt_id) is unique in the file.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


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
