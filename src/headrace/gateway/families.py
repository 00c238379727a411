"""The gateway's metrics as families: what was counted, and what the engine sees now, of all workers together."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from headrace import __version__
from headrace.gateway.counters import Counters, series_labels
from headrace.gateway.metric_table import family, histograms
from headrace.policy import EngineView, LimitView, ShareView, engine
from headrace.telemetry import Family, Labels, Row

BREAKER_STATES = ("closed", "half_open", "open")  # the worst last
AMOUNTS = ("quotas.", "budgets.", "commitments.")  # limits of which something is left


def counter_families(counters: Counters) -> Iterator[Family]:
    """What was counted of requests and attempts."""
    for name, first, second, by_pair in (
        ("headrace_requests_total", "class", "outcome", counters.requests),
        ("headrace_attempts_total", "backend", "outcome", counters.attempts),
        ("headrace_dispatches_total", "pool", "reason", counters.dispatches),
    ):
        yield family(name, [(((first, one), (second, two)), n) for (one, two), n in sorted(by_pair.items())])
    for name, label, by_label in (
        ("headrace_refused_total", "reason", counters.refused),
        ("headrace_rejections_total", "reason", counters.rejections),
        ("headrace_rescues_total", "outcome", counters.rescues),
        ("headrace_input_tokens_total", "backend", _used(counters, "input_tokens")),
        ("headrace_cached_input_tokens_total", "backend", _used(counters, "cached_input_tokens")),
        ("headrace_output_tokens_total", "backend", _used(counters, "output_tokens")),
        ("headrace_value_captured_usd_total", "pool", counters.value_captured_usd),
        ("headrace_value_lost_usd_total", "pool", counters.value_lost_usd),
    ):
        yield family(name, _by(label, by_label))
    yield family("headrace_ledger_faults_total", [((), counters.ledger_faults)])
    labels = {key: series_labels(key) for key in counters.series}
    for name, of in (
        ("headrace_time_to_first_token_seconds", "ttft"),
        ("headrace_time_per_output_token_seconds", "tpot"),
        ("headrace_request_duration_seconds", "duration"),
        ("headrace_queue_duration_seconds", "queue"),
    ):
        yield histograms(name, [(labels[key], getattr(series, of)) for key, series in counters.series.items()])
    spent = [(labels[key], series.spent_usd) for key, series in counters.series.items()]
    yield family("headrace_spent_usd_total", spent)


def engine_families(view: EngineView) -> Iterator[Family]:
    """What the engine sees now."""
    for name, attribute in (
        ("headrace_in_flight", "in_flight"),
        ("headrace_max_in_flight", "max_in_flight"),
        ("headrace_ttft_factor", "ttft_factor"),
        ("headrace_tpot_factor", "tpot_factor"),
        ("headrace_failure_rate", "failure_rate"),
        ("headrace_drained", "drained"),
    ):
        rows = [((("backend", b.name), ("pool", b.pool)), float(getattr(b, attribute))) for b in view.backends]
        yield family(name, rows)
    yield family("headrace_breaker", _breakers(view))
    yield family("headrace_requests_live", [((), view.requests_live)])
    yield family("headrace_queued", [((), view.queued)])
    yield family("headrace_retries_left", [((), view.retries_left)])
    yield from _shares(view.shares)
    yield from _limits(view.limits)


def set_families(limits: Mapping[str, float]) -> Iterator[Family]:
    """What does not change: limits as set, and what runs."""
    yield family("headrace_limit", _by("limit", limits))
    build = "pure" if Path(engine.__file__).suffix == ".py" else "compiled"
    runs: Labels = ("version", __version__), ("python", platform.python_version()), ("build", build)
    yield family("headrace_build_info", [(runs, 1)])


def _breakers(view: EngineView) -> Iterator[Row]:
    for backend in view.backends:
        for state in BREAKER_STATES:
            labels: Labels = ("backend", backend.name), ("pool", backend.pool), ("state", state)
            yield labels, int(backend.breaker == state)


def _shares(shares: Iterable[ShareView]) -> Iterator[Family]:
    for name, attribute in (
        ("headrace_share_target", "target"),
        ("headrace_share_realized", "realized"),
        ("headrace_share_work", "work"),
        ("headrace_share_debt", "debt"),
        ("headrace_share_debt_low", "debt_low"),
        ("headrace_share_debt_high", "debt_high"),
        ("headrace_share_lambda_usd_per_unit", "lambda_usd_per_unit"),
        ("headrace_share_level_usd_per_unit", "level_usd_per_unit"),
    ):
        yield family(name, _known("share", ((each.name, getattr(each, attribute)) for each in shares)))
    inside = ((each.name, None if each.realized is None else each.realized * each.work) for each in shares)
    yield family("headrace_share_inside_work", _known("share", inside))


def _limits(limits: Iterable[LimitView]) -> Iterator[Family]:
    for name, attribute in (
        ("headrace_priced_limit_bound", "bound"),
        ("headrace_priced_limit_use", "use"),
        ("headrace_priced_limit_pace", "pace"),
        ("headrace_priced_limit_lambda_usd_per_unit", "lambda_usd_per_unit"),
    ):
        held = ((each, getattr(each, attribute)) for each in limits)
        yield family(name, [(_limit(each), value) for each, value in held if value is not None])
    left = [(_limit(each), max(0.0, each.bound - each.use)) for each in limits if each.name.startswith(AMOUNTS)]
    yield family("headrace_priced_limit_left", left)


def _used(counters: Counters, kind: str) -> dict[str, int]:
    return {backend: getattr(used, kind) for backend, used in counters.used.items()}


def _limit(limit: LimitView) -> Labels:
    return ("limit", limit.name), ("unit", limit.unit)


def _by(label: str, values: Mapping[str, float]) -> list[Row]:
    return [(((label, name),), value) for name, value in sorted(values.items())]


def _known(label: str, values: Iterable[tuple[str, float | None]]) -> list[Row]:
    return [(((label, name),), value) for name, value in values if value is not None]
