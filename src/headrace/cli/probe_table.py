"""A probe and a calibration as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from headrace.bench import ProbeSummary, Seen


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
