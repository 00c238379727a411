"""Every metric of the gateway: its name, what kind it is, its labels, and what it says.

The rule it protects: **the number of series is bounded by the fleet file.** Labels are names of the fleet (class, pool,
backend, share, limit), of this table (outcome, reason, state), or a tenant's; tenants are the one thing that comes from
outside, and beyond `max_series` of `[telemetry]` those that come later share the name `other`.

Names follow the conventions of Prometheus: base units at the end, `_total` on counters.
Source: https://prometheus.io/docs/practices/naming/, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from headrace.telemetry import Family, Histogram, Labels, Row

Kind = Literal["counter", "gauge", "histogram"]


class Described(NamedTuple):
    """A metric of the table."""

    kind: Kind
    labels: tuple[str, ...]
    text: str


_SERIES: Final = ("class", "pool", "tenant")
_BACKEND: Final = ("backend", "pool")
_LIMIT: Final = ("limit", "unit")

METRICS: Final[dict[str, Described]] = {
    "headrace_build_info": Described("gauge", ("version", "python", "build"), "1; its labels say what runs."),
    # requests
    "headrace_requests_total": Described("counter", ("class", "outcome"), "Requests ended."),
    "headrace_requests_live": Described("gauge", (), "Requests not ended."),
    "headrace_queued": Described("gauge", (), "Requests that wait for a backend."),
    "headrace_refused_total": Described("counter", ("reason",), "Refused before becoming a request."),
    "headrace_rejections_total": Described(
        "counter",
        ("reason",),
        "Requests turned away: no_route, queue_full, queue_timeout, shed, no_backend, budget_spent, unfit.",
    ),
    "headrace_time_to_first_token_seconds": Described(
        "histogram", _SERIES, "Arrival to first token, at the gateway; by the pool that gave it."
    ),
    "headrace_time_per_output_token_seconds": Described(
        "histogram", _SERIES, "(last token - first token) / (output tokens - 1) of streamed requests."
    ),
    "headrace_request_duration_seconds": Described("histogram", _SERIES, "Arrival to the end of completed requests."),
    "headrace_queue_duration_seconds": Described(
        "histogram", _SERIES, "Arrival to the first dispatch; by the pool of that."
    ),
    "headrace_client_connections": Described("gauge", (), "Open client connections."),
    # attempts
    "headrace_dispatches_total": Described(
        "counter", ("pool", "reason"), "Attempts dispatched: first, retry, hedge, rescue, continued."
    ),
    "headrace_attempts_total": Described("counter", ("backend", "outcome"), "Attempts ended."),
    "headrace_rescues_total": Described(
        "counter",
        ("outcome",),
        "Answers that broke off after their client had a part: completed, ended, broken or impossible.",
    ),
    "headrace_input_tokens_total": Described("counter", ("backend",), "Input tokens, as backends counted."),
    "headrace_cached_input_tokens_total": Described("counter", ("backend",), "Of these, found in a cache."),
    "headrace_output_tokens_total": Described("counter", ("backend",), "Output tokens, as backends counted."),
    # money
    "headrace_spent_usd_total": Described(
        "counter", _SERIES, "USD of attempts at the pool's terms, its part of the hours included."
    ),
    "headrace_value_captured_usd_total": Described(
        "counter",
        ("pool",),
        "At dispatch into the steered share's pools: the best score outside less the chosen one, where it is cheaper.",
    ),
    "headrace_value_lost_usd_total": Described(
        "counter", ("pool",), "The same where the chosen one is dearer: what the share's target costs."
    ),
    # backends
    "headrace_in_flight": Described("gauge", _BACKEND, "Attempts dispatched and not ended."),
    "headrace_max_in_flight": Described("gauge", _BACKEND, "Concurrency limit."),
    "headrace_ttft_factor": Described("gauge", _BACKEND, "Observed over predicted TTFT."),
    "headrace_tpot_factor": Described("gauge", _BACKEND, "Observed over predicted TPOT."),
    "headrace_failure_rate": Described("gauge", _BACKEND, "Failures per attempt, recent."),
    "headrace_breaker": Described(
        "gauge", (*_BACKEND, "state"), "Of each state 1 if the breaker is in it, else 0: closed, half_open, open."
    ),
    "headrace_drained": Described("gauge", _BACKEND, "1: it finishes what it has and takes no more."),
    # shares and limits
    "headrace_share_target": Described("gauge", ("share",), "Target of the share."),
    "headrace_share_realized": Described("gauge", ("share",), "The share of all work since the start."),
    "headrace_share_work": Described("gauge", ("share",), "Work booked since the start, in the share's unit."),
    "headrace_share_inside_work": Described("gauge", ("share",), "Of this, work of the share's pools."),
    "headrace_share_debt": Described("gauge", ("share",), "Work of its pools above the target, in the share's unit."),
    "headrace_share_debt_low": Described("gauge", ("share",), "Least debt that the open windows allow."),
    "headrace_share_debt_high": Described("gauge", ("share",), "Most debt that the open windows allow."),
    "headrace_share_lambda_usd_per_unit": Described("gauge", ("share",), "Shadow price of the share."),
    "headrace_share_level_usd_per_unit": Described("gauge", ("share",), "The slow part of that price."),
    "headrace_priced_limit_bound": Described(
        "gauge", _LIMIT, "Bound of a priced limit: a fraction, or an amount per period."
    ),
    "headrace_priced_limit_use": Described("gauge", _LIMIT, "What is used of it."),
    "headrace_priced_limit_left": Described("gauge", _LIMIT, "What is left of it: of quotas, budgets, commitments."),
    "headrace_priced_limit_pace": Described("gauge", _LIMIT, "Of an amount per period: an even use by now."),
    "headrace_priced_limit_lambda_usd_per_unit": Described("gauge", _LIMIT, "Its shadow price."),
    "headrace_retries_left": Described("gauge", (), "Retries that the retry budget allows now."),
    "headrace_limit": Described("gauge", ("limit",), "Limits as set, in the unit that the name ends with."),
    # books
    "headrace_ledger_faults_total": Described(
        "counter",
        (),
        "Failed writes, syncs and rotations of the usage ledger; records that are not written wait in memory.",
    ),
    "headrace_ledger_unwritable": Described("gauge", (), "Workers that cannot write their usage ledger now."),
    "headrace_ledger_unwritten_bytes": Described(
        "gauge", (), "Bytes of usage ledger that wait in memory to be written."
    ),
    "headrace_ledger_unsynced_bytes": Described(
        "gauge", (), "Bytes of usage ledger that were written and not forced to the disk."
    ),
    "headrace_key_file_faulty": Described(
        "gauge", (), "Whether the key file as it is cannot be read, so that the keys that were read last hold on."
    ),
    "headrace_key_file_faults_total": Described("counter", (), "Looks at a key file that could not be read."),
    "headrace_soft_budget_overruns_total": Described("counter", (), "Requests that were let by over a soft budget."),
    "headrace_ledger_postgres_lag_bytes": Described(
        "gauge", (), "Bytes of usage ledger that PostgreSQL does not have yet."
    ),
    "headrace_ledger_postgres_lag_seconds": Described(
        "gauge", (), "Time since PostgreSQL had all of the usage ledger."
    ),
    "headrace_ledger_postgres_faults_total": Described(
        "counter", (), "Failed tries to ship the usage ledger to PostgreSQL; each is made again."
    ),
    "headrace_records_dropped_total": Described(
        "counter", (), "Requests that are in no access log and no trace, because too many waited to be written."
    ),
    # workers
    "headrace_workers": Described("gauge", (), "Workers that live."),
    "headrace_workers_expected": Described("gauge", (), "Workers that there should be."),
    "headrace_worker_restarts_total": Described("counter", ("worker",), "Restarts of a worker after a crash."),
    "headrace_peers_unheard": Described("gauge", (), "Workers that cannot hear other gateways."),
    "headrace_fleet_reloads_total": Described("counter", (), "Fleet files taken on since the workers started."),
    "headrace_fleet_reloads_refused_total": Described("counter", (), "Fleet files refused for their faults."),
    "headrace_event_loop_lag_seconds": Described(
        "gauge", ("worker",), "How late the last sweep was: the time that the event loop had no time."
    ),
}


def family(name: str, rows: Iterable[Row]) -> Family:
    """A counter or a gauge of the table."""
    found = METRICS[name]
    return Family(name, found.kind, found.text, rows)


def histograms(name: str, series: Iterable[tuple[Labels, Histogram]]) -> Family:
    """A histogram of the table."""
    found = METRICS[name]
    return Family(name, found.kind, found.text, histograms=series)


def as_markdown() -> str:
    """The table as docs/reference/metrics.md has it."""
    rows = (f"| `{name}` | {each.kind} | {', '.join(each.labels)} | {each.text} |" for name, each in METRICS.items())
    return "\n".join(("| metric | kind | labels | what it says |", "|---|---|---|---|", *rows))
