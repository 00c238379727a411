"""A probe and a calibration as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from headrace.bench import UNITS, CalibrationResult, ErrorFacts, ProbeSummary, Seen
from headrace.fleet import Measured


def show_probe(summary: ProbeSummary) -> None:
    """Print what a probe saw."""
    table = Table(title="probe", title_justify="left")
    for column in ("measured", "at", "n", "median, ms", "low to high, ms"):
        table.add_column(column, justify="left" if column == "measured" else "right")
    _rows(table, "TTFT, one request", "input tokens", summary.ttft_s)
    _rows(table, "TPOT, one request", "input tokens", summary.tpot_by_context_s)
    _rows(table, "TPOT, all at once", "requests", summary.tpot_s)
    _rows(table, "stall by another's prompt", "input tokens", summary.stalls_s)
    _rows(table, "TTFT, beyond", "requests", summary.queue_ttft_s)
    Console().print(table)
    for line in _remarks(summary):
        Console().print(line, highlight=False)


def _rows(table: Table, what: str, unit: str, seen: dict[str, Seen]) -> None:
    for at, value in seen.items():
        spread = f"{value.low * 1e3:.1f} to {value.high * 1e3:.1f}"
        table.add_row(what, f"{at} {unit}", str(value.n), f"{value.p50 * 1e3:.1f}", spread)


def _remarks(summary: ProbeSummary) -> list[str]:
    lines = []
    if summary.prefix is not None:
        found = summary.prefix.cached_input_tokens
        said = "the backend does not say what it found" if found is None else f"{found:.0f} tokens found"
        lines.append(f"same prefix again: TTFT {summary.prefix.saved:+.0%} saved ({said}; n={summary.prefix.n})")
    for limit in summary.rate_limits:
        window = f" per {limit.window}" if limit.window else ""
        reset = "" if limit.reset_s is None else f", full again in {limit.reset_s:.0f} s"
        lines.append(
            f"rate limit of {limit.of}{window}: {_figure(limit.remaining)} left of {_figure(limit.limit)}{reset}"
        )
    return lines


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def show_calibration(result: CalibrationResult) -> None:
    """Print what was fitted, and how wrong it is."""
    table = Table(title=f"calibration of {result.model} at {result.endpoint}, {result.measured}", title_justify="left")
    for column in ("coefficient", "value", "80 % interval", "unit", "n"):
        table.add_column(column, justify="left" if column in ("coefficient", "unit") else "right")
    for name, value in result.coefficients.items():
        table.add_row(name, *_fitted(value), UNITS[name], str(value.n))
    for batch, step in result.steps:
        table.add_row(f"decode_step_s, batch {batch}", *_fitted(step), "s", str(step.n))
    counts = (("max_batch", "sequences", result.max_batch), ("chunk_tokens", "tokens", result.chunk_tokens))
    for name, unit, count in counts:
        table.add_row(name, str(count.value), f"{count.low} to {count.high}", unit, str(count.n))
    Console().print(table)
    for name, _, count in counts:
        Console().print(f"{name}: {count.note}", highlight=False)
    Console().print(_errors("in the fit", result.ttft, result.tpot), highlight=False)
    if result.held_out_ttft is not None and result.held_out_tpot is not None:
        line = _errors("held out (every fifth measurement)", result.held_out_ttft, result.held_out_tpot)
        Console().print(line, highlight=False)


def _fitted(value: Measured) -> tuple[str, str]:
    return f"{value.value:.4g}", f"{value.low:.3g} to {value.high:.3g}"


def _errors(where: str, ttft: ErrorFacts, tpot: ErrorFacts) -> str:
    return (
        f"error {where}: TTFT median {ttft.median:.1%}, p90 {ttft.p90:.1%} (n={ttft.n}); "
        f"TPOT median {tpot.median:.1%}, p90 {tpot.p90:.1%} (n={tpot.n})"
    )
