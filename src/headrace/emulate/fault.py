"""Faults on request: what is to go wrong with one answer, in the manner of the provider that is emulated.

A fault is asked for by the header `x-headrace-emulated-fault` of a request, or by a list that each request takes the
next one of (`POST /emulated/faults`). It is written `[BACKEND=]WHAT[@TOKENS]`:

- WHAT names an error of the dialect by its code or type (`queue_exceeded`), by its kind (`overloaded`, `quota` ...), of
  which the first is taken, or by its status. Without `@` it is the HTTP answer; with `@5` it comes inside the 200
  stream after five tokens, in the dialect's shape.
- or it is one of: `cut` (the connection ends without an end), `reset` (it is reset), `polite` (the body ends properly,
  but no finish reason and no `[DONE]` came), `no_done` (only `[DONE]` is missing), `stall` (nothing more comes),
  `malformed` (what comes next is no chunk), `garbage` (a web page), `overlong` (an answer longer than its head says).
  `late@5` is a good answer that begins five seconds later.
- BACKEND limits it to the backend of that name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from headrace.errors import RequestError
from headrace.wire.dialects import DIALECTS, Dialect, ErrorRow

HEADER = b"x-headrace-emulated-fault"
CUT, POLITE, NO_DONE, STALL, GARBAGE = "cut", "polite", "no_done", "stall", "garbage"
RESET, MALFORMED, OVERLONG, LATE = "reset", "malformed", "overlong", "late"
OPENAI = DIALECTS["openai"]
TRANSPORT = (CUT, RESET, POLITE, NO_DONE, STALL, MALFORMED, GARBAGE, OVERLONG, LATE)
_SPEC = re.compile(r"(?:([^=@]+)=)?([\w .-]+)(?:@(\d+))?")


class Fault(NamedTuple):
    """What goes wrong.

    Attributes:
        what: one of `TRANSPORT`, where `error` is None.
        after_tokens: tokens that are sent before; None: none, and an error is the HTTP answer. Of `late`: seconds.
    """

    what: str
    error: ErrorRow | None
    after_tokens: int | None


def errors_of(dialect: Dialect) -> tuple[ErrorRow, ...]:
    """The errors that an emulation of this dialect sends: where none are known, OpenAI's."""
    return dialect.errors or OPENAI.errors


def read_fault(text: str, backend: str, dialect: Dialect) -> Fault | None:
    """The fault that `text` asks of this backend; None: it asks none.

    Raises:
        RequestError: it is no fault that this dialect has.
    """
    if not text:
        return None
    match = _SPEC.fullmatch(text)
    if match is None:
        raise RequestError(f"not a fault: {text!r}; write [BACKEND=]WHAT[@TOKENS]")
    if match[1] is not None and match[1] != backend:
        return None
    what, after = match[2], None if match[3] is None else int(match[3])
    if what in TRANSPORT:
        return Fault(what, None, after)
    rows = errors_of(dialect)
    row = next((row for row in rows if what in (row.code, row.type)), None)
    row = row or next((row for row in rows if what in (row.kind, str(row.status))), None)
    if row is None:
        known = sorted({row.kind.value for row in rows})
        raise RequestError(f"no error {what!r} of {dialect.name}; it has {', '.join((*known, *TRANSPORT))}")
    return Fault(what, row, after)
