"""The access log: one line a request, when it has ended; names, times and counts, never what was said nor a secret.

Lines of an interval are written at once, to standard error or a file. Several workers may share the file: each write
appends whole lines. A file that was moved away is opened anew, so that logrotate needs no signal.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache

import msgspec

from headrace.fleet import LogFormat
from headrace.telemetry.logs import iso
from headrace.telemetry.trail import Trail


class Line(msgspec.Struct, frozen=True, gc=False):
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
    first_s, context, attempts = trail.first_token_s, trail.context, trail.attempts
    used, output, cached, usd = 0, 0, 0, 0.0
    for attempt in attempts:
        usd += attempt.spent_usd
        if attempt.tokens is not None:
            used, output, cached = used + attempt.tokens[0], output + attempt.tokens[1], cached + attempt.tokens[2]
    return Line(
        iso(trail.ended_unix_s),
        trail.request_id,
        trail.tenant,
        trail.workload_class,
        trail.model,
        trail.api,
        attempts[-1].backend if attempts else "",
        len(attempts),
        trail.status,
        trail.outcome,
        used,
        output,
        cached,
        None if first_s is None else round(first_s - trail.arrived_s, 6),
        round(trail.ended_s - trail.arrived_s, 6),
        usd,
        None if context is None else f"{context.trace_id:032x}",
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


@lru_cache(maxsize=1024)
def _word(text: str) -> str:
    """A name as one word: it may come from outside."""
    return text.encode("unicode_escape").decode().replace(" ", "\\x20") or "-"


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
