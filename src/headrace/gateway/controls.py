"""What a client may ask of headrace itself, request by request: in headers, or in the field `headrace` of the body.

header                                field in `headrace`           meaning
------------------------------------  ----------------------------  ------------------------------------------------
x-headrace-class                      class                         the workload class
x-headrace-deadline-s                 deadline_s                    after so many seconds the answer is worth nothing
x-headrace-value-of-time-usd-per-s    value_of_time_usd_per_s       what a second of waiting costs
x-headrace-pool                       pool                          never leave this pool
x-headrace-explain: 1                 explain: true                 give the priced table of candidates back

A header goes before the field of the same meaning. Who sends neither pays one look-up.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from headrace.errors import RequestError
from headrace.policy import Explained
from headrace.wire.body import NULL, decode_body, given

DEADLINE, VALUE = b"x-headrace-deadline-s", b"x-headrace-value-of-time-usd-per-s"
POOL, EXPLAIN = b"x-headrace-pool", b"x-headrace-explain"
MAX_EXPLAINED = 20  # rows: a header has to stay within what clients take
MAX_DEADLINE_S = 86_400.0
HEADERS = frozenset((DEADLINE, VALUE, POOL, EXPLAIN))
_YES = frozenset((b"1", b"true"))


class Controls(msgspec.Struct, forbid_unknown_fields=True, rename={"workload_class": "class"}):
    """What one request asks of headrace."""

    workload_class: str | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)] | None = None
    value_of_time_usd_per_s: Annotated[float, Meta(ge=0)] | None = None
    pool: str | None = None
    explain: bool = False


_controls = msgspec.json.Decoder(Controls)


def read_controls(headers: dict[bytes, bytes], field: Raw) -> Controls | None:
    """What a request asks of headrace; None: nothing.

    Raises:
        RequestError: a header or a part of the field has no sense.
    """
    if field is NULL and headers.keys().isdisjoint(HEADERS):
        return None
    value, get = given(field), headers.get
    deadline, time_value, pool, explain = get(DEADLINE), get(VALUE), get(POOL), get(EXPLAIN)
    found = Controls() if value is None else decode_body(_controls, value, "what headrace is asked", "headrace")
    if deadline is not None:
        found.deadline_s = _number(DEADLINE, deadline)
        if not 0.0 < found.deadline_s <= MAX_DEADLINE_S:
            raise RequestError(f"x-headrace-deadline-s: send seconds, more than 0 and at most {MAX_DEADLINE_S:.0f}")
    if time_value is not None:
        found.value_of_time_usd_per_s = _number(VALUE, time_value)
    if pool is not None:
        found.pool = pool.decode("latin-1")
    if explain is not None:
        found.explain = explain.lower() in _YES
    return found


def _number(name: bytes, value: bytes) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not isfinite(number) or number < 0.0:
        said = value.decode("latin-1")
        raise RequestError(f"{name.decode()}: {said!r} is no number of at least 0")
    return number


def explanation(rows: list[Explained]) -> bytes:
    """The table of candidates as a header's value: compact JSON, numbers to four digits."""
    table = [{name: _short(getattr(row, name)) for name in Explained.__struct_fields__} for row in rows[:MAX_EXPLAINED]]
    return msgspec.json.encode(table)


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) and isfinite(value) else value
