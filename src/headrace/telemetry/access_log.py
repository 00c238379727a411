"""The access log: one line a request, when it has ended; names, times and counts, never what was said nor a secret.

Lines of an interval are written at once, to standard error or a file. Several workers may share the file: each write
appends whole lines. A file that was moved away is opened anew, so that logrotate needs no signal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache

import msgspec

from headrace.fleet import LogFormat
from headrace.telemetry.logs import iso
from headrace.telemetry.trail import Trail

_LINE = "%s %s %s in=%d out=%d cached=%d ttft=%s e2e=%.4fs usd=%.8f%s\n"


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
        self._write: Callable[[Trail], bytes] = _as_json if form is LogFormat.JSON else _for_people
        self._fd = -1 if path is None else _opened(path)

    def record(self, trails: list[Trail]) -> None:
        """Write a line for each. Raises OSError: they cannot be written, and are lost."""
        text = b"".join(map(self._write, trails))
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


def _as_json(trail: Trail) -> bytes:
    first_s, context = trail.first_token_s, trail.context
    line = Line(
        iso(trail.ended_unix_s),
        trail.request_id,
        trail.tenant,
        trail.workload_class,
        trail.model,
        trail.api,
        trail.backend,
        trail.dispatched,
        trail.status,
        trail.outcome,
        *trail.tokens,
        None if first_s is None else round(first_s - trail.arrived_s, 6),
        round(trail.ended_s - trail.arrived_s, 6),
        trail.spent_usd,
        None if context is None else f"{context.trace_id:032x}",
    )
    return msgspec.json.encode(line) + b"\n"


def _for_people(trail: Trail) -> bytes:
    first_s, arrived_s, context = trail.first_token_s, trail.arrived_s, trail.context
    named = trail.tenant, trail.workload_class, trail.model, trail.api, trail.backend
    text = _LINE % (
        iso(trail.ended_unix_s),
        trail.request_id,
        _alike(trail.status, trail.outcome, *named, trail.dispatched),
        *trail.tokens,
        "-" if first_s is None else f"{first_s - arrived_s:.4f}s",
        trail.ended_s - arrived_s,
        trail.spent_usd,
        "" if context is None else f" trace={context.trace_id:032x}",
    )
    return text.encode()


@lru_cache(maxsize=4096)
def _alike(
    status: int, outcome: str, tenant: str, workload_class: str, model: str, api: str, backend: str, attempts: int
) -> str:
    """The part of a line of which few come again and again."""
    named = f"tenant={_word(tenant)} class={_word(workload_class)} model={_word(model)}"
    return f"{status} {outcome} {named} api={api} backend={_word(backend)} attempts={attempts}"


def _word(text: str) -> str:
    """A name as one word: it may come from outside."""
    return text.encode("unicode_escape").decode().replace(" ", "\\x20") or "-"


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
