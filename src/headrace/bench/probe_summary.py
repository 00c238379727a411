"""What a probe saw, before any model of it: medians per measurement, the rate limits, and what caching saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec

from headrace.bench.probe_file import ProbeRecord
from headrace.wire import RateLimit


class Seen(msgspec.Struct, frozen=True):
    """A median with its spread and count; seconds."""

    n: int
    p50: float
    low: float
    high: float


class PrefixEffect(msgspec.Struct, frozen=True):
    """TTFT of a prompt whose beginning was sent before, against fresh ones.

    Attributes:
        cached_input_tokens: what the backend said it found, median; None where it says nothing.
        saved: 1 - repeated / fresh, of the median TTFTs.
    """

    n: int
    fresh_ttft_s: float
    repeated_ttft_s: float
    saved: float
    cached_input_tokens: float | None


class ProbeSummary(msgspec.Struct, frozen=True):
    """Measurements of a probe, each by what was varied.

    Attributes:
        ttft_s: by input length, one request at a time.
        tpot_s: by concurrency, all requests at once; `tpot_by_context_s`: by input length, one at a time.
        stalls_s: longest gap in another's stream while a prompt was prefilled, by the prompt's length.
        queue_ttft_s: by concurrency, when there are more requests than were measured together.
        rate_limits: as last stated.
    """

    requests: int
    completed: int
    ttft_s: dict[str, Seen]
    tpot_by_context_s: dict[str, Seen]
    tpot_s: dict[str, Seen]
    stalls_s: dict[str, Seen]
    queue_ttft_s: dict[str, Seen]
    prefix: PrefixEffect | None
    rate_limits: list[RateLimit]
    retry_after_seen: int


def summarise(records: Sequence[ProbeRecord]) -> ProbeSummary:
    """The summary of every request in a probe file."""
    whole = [record for record in records if record.completed]
    singles = _of_kind(whole, "single")
    injected = _of_kind(whole, "inject")
    limited = [record for record in records if record.rate_limits]
    return ProbeSummary(
        requests=len(records),
        completed=len(whole),
        ttft_s=_by(singles, _part(1), lambda record: record.ttft_s),
        tpot_by_context_s=_by(singles, _part(1), lambda record: record.tpot_s),
        tpot_s=_by(_of_kind(whole, "batch"), _part(1), lambda record: record.tpot_s),
        stalls_s=_by([each for each in injected if each.index == 0], _part(1), lambda record: record.gap_max_s),
        queue_ttft_s=_by(_of_kind(whole, "queue"), _part(1), lambda record: record.ttft_s),
        prefix=_prefix(_of_kind(whole, "prefix")),
        rate_limits=limited[-1].rate_limits if limited else [],
        retry_after_seen=sum("retry-after" in record.rate_limit_headers for record in records),
    )


def _of_kind(records: Iterable[ProbeRecord], kind: str) -> list[ProbeRecord]:
    return [record for record in records if record.kind == kind]


def _part(index: int) -> Callable[[ProbeRecord], str]:
    """What a cell's name says was varied."""
    return lambda record: record.cell.split("-")[index]


def _by(
    records: Iterable[ProbeRecord], key: Callable[[ProbeRecord], str], value: Callable[[ProbeRecord], float | None]
) -> dict[str, Seen]:
    values: dict[str, list[float]] = {}
    for record in records:
        found = value(record)
        if found is not None:
            values.setdefault(key(record), []).append(found)
    ordered = sorted(values, key=int)
    return {name: Seen(len(v), median(v), min(v), max(v)) for name in ordered for v in (values[name],)}


def _prefix(records: Sequence[ProbeRecord]) -> PrefixEffect | None:
    """The second request of a cell repeats the beginning of the first; the third does not."""
    fresh = [record.ttft_s for record in records if record.index in (0, 2) and record.ttft_s is not None]
    again = [record for record in records if record.index == 1 and record.ttft_s is not None]
    if not fresh or not again:
        return None
    repeated = median(record.ttft_s or 0.0 for record in again)
    cached = [record.cached_input_tokens for record in again if record.cached_input_tokens is not None]
    saved = 1.0 - repeated / median(fresh)
    return PrefixEffect(len(again), median(fresh), repeated, saved, median(cached) if cached else None)
