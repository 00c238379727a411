"""The access log: one line a request, when it has ended; names, times and counts, never what was said nor a secret.

Lines of an interval are written at once, to standard error or a file. Several workers may share the file: each write
appends whole lines. A file that was moved away is opened anew, so that logrotate needs no signal.
"""

from __future__ import annotations

import os
import sys

import msgspec

from headrace.fleet import LogFormat
from headrace.telemetry.logs import iso
from headrace.telemetry.trail import Trail


class Line(msgspec.Struct, frozen=True):
    """One request, as JSON has it. `time` is its end; tokens and USD are of all its attempts."""

    time: str
    request_id: str
    tenant: str
    workload_class: str = msgspec.field(name="class")
    model: str
    api: str
    backend: str
    attempts: int
    status: int
    outcome: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    ttft_s: float | None
    e2e_s: float
    usd: float
    trace_id: str | None


class AccessLog:
    """Writes lines."""

    def __init__(self, path: str | None, form: LogFormat) -> None:
        """
        Args:
            path: of the file; None: standard error.

        Raises:
            OSError: it cannot be opened.
        """
        self._path = path
        self._write = _as_json if form is LogFormat.JSON else _for_people
        self._fd = -1 if path is None else _opened(path)

    def record(self, trails: list[Trail]) -> None:
        """Write a line for each. Raises OSError: they cannot be written, and are lost."""
        text = b"".join(self._write(line_of(trail)) for trail in trails)
        if self._path is None:
            sys.stderr.write(text.decode())
            sys.stderr.flush()
            return
        if not self._is_there(self._path):
            os.close(self._fd)
            self._fd = _opened(self._path)
        while text:
            text = text[os.write(self._fd, text) :]

    def _is_there(self, path: str) -> bool:
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._fd))
        except FileNotFoundError:
            return False


def line_of(trail: Trail) -> Line:
    """The line of a request."""
    tokens, first_s, context = trail.tokens, trail.first_token_s, trail.context
    return Line(
        time=iso(trail.ended_unix_s),
        request_id=trail.request_id,
        tenant=trail.tenant,
        workload_class=trail.workload_class,
        model=trail.model,
        api=trail.api,
        backend=trail.attempts[-1].backend if trail.attempts else "",
        attempts=len(trail.attempts),
        status=trail.status,
        outcome=trail.outcome,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cached_input_tokens=tokens[2],
        ttft_s=None if first_s is None else round(first_s - trail.arrived_s, 6),
        e2e_s=round(trail.ended_s - trail.arrived_s, 6),
        usd=trail.spent_usd,
        trace_id=None if context is None else f"{context.trace_id:032x}",
    )


def _as_json(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _for_people(line: Line) -> bytes:
    tokens = f"in={line.input_tokens} out={line.output_tokens} cached={line.cached_input_tokens}"
    times = f"ttft={'-' if line.ttft_s is None else f'{line.ttft_s:.4f}s'} e2e={line.e2e_s:.4f}s usd={line.usd:.8f}"
    whose = f"tenant={_word(line.tenant)} class={_word(line.workload_class)} model={_word(line.model)}"
    where = f"api={line.api} backend={_word(line.backend)} attempts={line.attempts}"
    text = f"{line.time} {line.request_id} {line.status} {line.outcome} {whose} {where} {tokens} {times}"
    return (text if line.trace_id is None else f"{text} trace={line.trace_id}").encode() + b"\n"


def _word(text: str) -> str:
    """A name as one word: it may come from outside."""
    return text.encode("unicode_escape").decode().replace(" ", "\\x20") or "-"


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
