"""A report as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from headrace.metrics import Quantiles, Report


def show_report(report: Report) -> None:
    """Print the report's tables."""
    for table in report_tables(report):
        Console().print(table)


def report_tables(report: Report) -> list[Table]:
    """Shares, commitments and budgets and sessions where there are any, classes, pools and money, one table each."""
    tasks = [_tasks(report)] if any(held.tasks is not None for held in report.classes.values()) else []
    periods = [_periods(report)] if report.commitments or report.budgets else []
    return [_shares(report), *periods, _classes(report), *tasks, _pools(report), _money(report)]


def _shares(report: Report) -> Table:
    table = _new("shares", "share", "of", "target", "realized", "worst 5 min, pp", "windows feasible / judged")
    for name, share in report.shares.items():
        windows = f"{share.windows.feasible} / {share.windows.judged}"
        worst = _number(share.worst_5min_error_pp, ".2f")
        table.add_row(name, share.of, f"{share.target:.1%}", _number(share.realized, ".2%"), worst, windows)
    return table


def _periods(report: Report) -> Table:
    table = _new("commitments and budgets", "name", "amount", "used, by period", "used / even pace")
    for name, held in (report.commitments | report.budgets).items():
        used = ", ".join(f"{value:,.4g}" for value in held.used)
        table.add_row(name, f"{held.amount:,g} {held.unit} per {held.per}", used, _number(held.pace, ".1%"))
    return table


def _classes(report: Report) -> Table:
    table = _new(
        "classes", "class", "requests", "TTFT p50 / p99, s", "TPOT p50 / p99, ms", "E2E p50 / p99, s", "SLO met"
    )
    for name, held in report.classes.items():
        tpot = _pair(held.tpot_s, 1000.0)
        slo = _number(held.slo_attainment, ".1%")
        table.add_row(name, f"{held.count:,}", _pair(held.ttft_s), tpot, _pair(held.e2e_s), slo)
    return table


def _tasks(report: Report) -> Table:
    table = _new(
        "sessions and their sub-agents",
        "class",
        "tasks",
        "completed",
        "end to end p50 / p90 / p99, s",
        "waited, mean, s",
    )
    for name, held in report.classes.items():
        if held.tasks is not None:
            e2e = held.tasks.e2e_s
            times = " / ".join(_number(value, ",.4g") for value in (e2e.p50, e2e.p90, e2e.p99))
            table.add_row(
                name, f"{held.tasks.count:,}", f"{held.tasks.completed:,}", times, f"{held.tasks.waited_s:.4g}"
            )
    return table


def _pools(report: Report) -> Table:
    table = _new("pools", "pool", "memory", "requests", "compute", "output tokens", "utilization", "USD")
    for name, pool in report.pools.items():
        share = pool.share
        table.add_row(
            name,
            pool.memory or "-",
            f"{pool.requests:,}",
            _number(share.compute, ".1%"),
            _number(share.output_tokens, ".1%"),
            _number(pool.utilization, ".1%"),
            _number(pool.cost_usd, ",.2f"),
        )
    return table


def _money(report: Report) -> Table:
    table = _new(
        "money", "policy", "total, USD", "USD / Mtok output", "value captured, USD", "hindsight, USD", "regret"
    )
    cost, policy = report.cost, report.policy
    table.add_row(
        policy.name or "-",
        _number(cost.total_usd, ",.2f"),
        _number(cost.usd_per_mtok_output, ",.3f"),
        _number(policy.value_captured_usd, ",.4f"),
        _number(policy.hindsight_value_usd, ",.4f"),
        _number(policy.regret, ".2%"),
    )
    return table


def _new(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _pair(quantiles: Quantiles, factor: float = 1.0) -> str:
    if quantiles.p50 is None or quantiles.p99 is None:
        return "-"
    return f"{quantiles.p50 * factor:.3g} / {quantiles.p99 * factor:.3g}"
