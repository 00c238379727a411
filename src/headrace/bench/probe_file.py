"""Probe files: JSON lines, one header and then one line per request that was sent, with everything that was measured.

A file is only ever appended to. A probe that was interrupted reads it, and sends what is missing. A last line without
its end (the machine went down while it was written) is cut off; any other line that cannot be read is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from headrace.errors import ConfigError, Fault, TraceError
from headrace.wire import RateLimit

SCHEMA = 1


class ProbeHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="probe", tag_field="line"):
    """What was probed: the first line.

    Attributes:
        started: date and time, UTC, ISO 8601.
    """

    schema: int
    url: str
    model: str
    started: str


class ProbeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="request", tag_field="line"):
    """One request. Times are seconds after its send, unless they say otherwise.

    Attributes:
        cell, kind: the measurement it belongs to (see `probe_plan`); `attempt` counts runs of the cell, from 0.
        index: which request of the cell.
        at: date and time of the send, UTC, ISO 8601; `sent_s`: seconds after the first send of its cell.
        planned_input_tokens, max_tokens: what was asked for.
        prompt_bytes: bytes of message content.
        outcome: completed, rejected (an HTTP error), failed (broken, timeout) or cancelled (the probe was stopped).
        input_tokens, output_tokens, cached_input_tokens: as the backend counted them; None where it did not.
        marks: (seconds, tokens that had come by then), at most `MARKS`, evenly over the answer.
        gap_p50_s, gap_p90_s, gap_max_s: gaps between pieces of the answer; `pieces`: how many came.
        rate_limit_headers: as they came; `rate_limits`: parsed.
    """

    cell: str
    kind: str
    attempt: int
    index: int
    at: str
    sent_s: float
    planned_input_tokens: int
    max_tokens: int
    prompt_bytes: int
    outcome: str
    error: str | None = None
    status: int | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    pieces: int = 0
    marks: list[tuple[float, int]] = []
    gap_p50_s: float | None = None
    gap_p90_s: float | None = None
    gap_max_s: float | None = None
    rate_limit_headers: dict[str, str] = {}
    rate_limits: list[RateLimit] = []
    backend: str | None = None

    @property
    def completed(self) -> bool:
        """Whether the answer came whole, with the backend's own counts."""
        return self.outcome == "completed" and bool(self.input_tokens)

    @property
    def spent_input_tokens(self) -> int:
        """Input tokens that this request may have cost: the backend's count, else what was planned."""
        if self._free:
            return 0
        return self.planned_input_tokens if self.input_tokens is None else self.input_tokens

    @property
    def spent_output_tokens(self) -> int:
        """Output tokens that this request may have cost: the backend's count, else the ceiling."""
        if self._free:
            return 0
        return self.max_tokens if self.output_tokens is None else self.output_tokens

    @property
    def _free(self) -> bool:
        """Refused: with an HTTP error, or at the door."""
        return self.error == "connection refused" if self.status is None else self.status != 200


_lines = msgspec.json.Decoder(ProbeHeader | ProbeRecord)


class ProbeFile:
    """A probe file that is written: opened, read if it exists, appended to.

    Attributes:
        records: every request so far, those of earlier runs first.

    Raises:
        ConfigError: the file holds a probe of another endpoint or model, or cannot be written.
        TraceError: a line of it cannot be read.
    """

    def __init__(self, path: Path, header: ProbeHeader) -> None:
        self.path = path
        self.header = header
        self.records: list[ProbeRecord] = []
        try:
            if path.exists() and path.stat().st_size:
                self._resume()
            else:
                path.write_bytes(msgspec.json.encode(header) + b"\n")
        except OSError as error:
            fault = Fault("--out", f"cannot be written: {error.strerror or error}; name another file")
            raise ConfigError(str(path), [fault]) from error

    def add(self, records: Iterable[ProbeRecord]) -> None:
        """Append lines; they are on their way to the disk when this returns."""
        new = list(records)
        with self.path.open("ab") as lines:
            lines.write(b"".join(msgspec.json.encode(record) + b"\n" for record in new))
        self.records += new

    def _resume(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self.path.write_bytes(whole)
        found, self.records = _read(str(self.path), whole)
        if (found.url, found.model) != (self.header.url, self.header.model):
            raise ConfigError(
                str(self.path),
                [Fault("line 1", f"holds a probe of {found.model} at {found.url}; name another file with --out")],
            )
        self.header = found


def read_probe(path: Path) -> tuple[ProbeHeader, list[ProbeRecord]]:
    """A probe file.

    Raises:
        TraceError: it cannot be opened, or a line of it cannot be read.
    """
    try:
        return _read(str(path), path.read_bytes())
    except OSError as error:
        raise TraceError(str(path), 0, f"cannot be read: {error.strerror or error}") from error


def _read(path: str, content: bytes) -> tuple[ProbeHeader, list[ProbeRecord]]:
    lines = content.splitlines()
    decoded = [_line(path, number, line) for number, line in enumerate(lines, 1)]
    if not decoded or not isinstance(decoded[0], ProbeHeader) or decoded[0].schema != SCHEMA:
        raise TraceError(path, 1, f"not the header of a probe file of schema {SCHEMA}; write one with `headrace probe`")
    records = [line for line in decoded[1:] if isinstance(line, ProbeRecord)]
    if len(records) < len(decoded) - 1:
        raise TraceError(path, 0, "has two headers: calibrate takes several files, do not join them")
    return decoded[0], records


def _line(path: str, number: int, line: bytes) -> ProbeHeader | ProbeRecord:
    try:
        found: ProbeHeader | ProbeRecord = _lines.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TraceError(path, number, f"not a line of a probe file: {error}") from error
    return found
