"""What `headrace up` shows while traffic runs: share, classes, pools and money, now."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from headrace.bench import ReplayProgress
from headrace.metrics import QuantileSketch
from headrace.study import UpSystem

SECONDS_PER_HOUR = 3600.0


def screen(system: UpSystem, progress: ReplayProgress, seconds: float) -> Group:
    """The live tables. Speeds are those of an emulated fleet, and say so."""
    return Group(_shares(system, progress, seconds), _classes(system), _pools(system))


def progress_line(system: UpSystem, progress: ReplayProgress, seconds: float) -> str:
    """The same in one line, where nobody looks at a terminal."""
    shares = ", ".join(
        f"{name} {_percent(meter.realized)} of {system.fleet.shares[name].target:.0%}"
        for name, meter in system.metrics.shares.items()
    )
    done = f"{progress.now_s:.0f} of {seconds:.0f} s: {progress.ended} of {progress.sent} requests ended"
    return f"{done}; share {shares}; {_money(system, progress)}"


def _shares(system: UpSystem, progress: ReplayProgress, seconds: float) -> Table:
    title = f"emulated fleet, {progress.now_s:.0f} of {seconds:.0f} s, {progress.ended} of {progress.sent} requests"
    table = Table(title=title, title_justify="left", caption=_money(system, progress), caption_justify="left")
    for column in ("share", "of", "target", "now", "price, USD per unit"):
        table.add_column(column)
    prices = {share.name: share.lambda_usd_per_unit for share in system.view().shares}
    for name, share in system.fleet.shares.items():
        now = _percent(system.metrics.shares[name].recent(max(progress.now_s, 0.0)))
        price = "only reported" if share.report_only else f"{prices[name]:.3g}"
        table.add_row(name, str(share.of), f"{share.target:.0%}", now, price)
    return table


def _classes(system: UpSystem) -> Table:
    table = Table(title="classes", title_justify="left")
    for column in ("class", "ended", "TTFT p50 / p99, s", "TPOT p50 / p99, ms"):
        table.add_column(column)
    for name, totals in system.metrics.classes.items():
        table.add_row(name, f"{totals.arrived:,}", _pair(totals.ttft, 1.0), _pair(totals.tpot, 1000.0))
    return table


def _pools(system: UpSystem) -> Table:
    table = Table(title="pools", title_justify="left")
    for column in ("pool", "in flight", "ended", "output tokens", "breaker"):
        table.add_column(column)
    backends = system.view().backends
    for name, totals in system.metrics.pools.items():
        held = [backend for backend in backends if backend.pool == name]
        load = f"{sum(b.in_flight for b in held)} / {sum(b.max_in_flight for b in held)}"
        breakers = ", ".join(sorted({backend.breaker for backend in held}))
        table.add_row(name, load, f"{totals.requests:,}", f"{totals.output_tokens:,}", breakers)
    return table


def _money(system: UpSystem, progress: ReplayProgress) -> str:
    if progress.now_s <= 0.0:
        return ""
    per_hour = SECONDS_PER_HOUR / progress.now_s
    spent, outside = system.money.spent_usd * per_hour, system.money.outside_usd * per_hour
    return f"marginal cost {spent:,.2f} USD/h; the same traffic outside the share's pools {outside:,.2f} USD/h"


def _pair(sketch: QuantileSketch, factor: float) -> str:
    p50, p99 = sketch.quantile(0.5), sketch.quantile(0.99)
    return "-" if p50 is None or p99 is None else f"{p50 * factor:.3g} / {p99 * factor:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
