"""A frame as terminal tables: share and money, classes, pools, prices, what is promised, and the last requests."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from headrace.dashboard import Frame

REQUESTS_SHOWN = 8
COLOURS = {"bad": "red", "warn": "yellow"}


def screen(frame: Frame) -> Group:
    """The whole of it."""
    emulated = ", emulated fleet" if frame.emulated else ""
    head = Text(f"headrace {frame.version}, policy {frame.policy}{emulated}: up {frame.up_s:,.0f} s, ", style="bold")
    head.append(f"{frame.workers_up} of {frame.workers} workers, {frame.requests_live} requests live")
    alerts = [Text(f"{level}: {said}", style=COLOURS.get(level, "")) for level, said in frame.alerts]
    parts = (_shares(frame), _classes(frame), _pools(frame), _limits(frame), _promises(frame), _requests(frame))
    return Group(head, *alerts, *(part for part in parts if part.row_count))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right")
    return table


def _shares(frame: Frame) -> Table:
    table = _table("shares", "share", "of", "target", "last 5 min", "since start", "lambda, USD per unit")
    for share in frame.shares:
        price = f"{share.lambda_usd_per_unit:.3g}" if share.steered else "only reported"
        recent, total = _percent(share.realized), _percent(share.realized_total)
        table.add_row(share.name, share.of, _percent(share.target), recent, total, price)
    money = frame.money
    said = f"marginal {money.marginal_usd_per_h:,.2f} USD/h, held {money.held_usd_per_h:,.2f} USD/h"
    if money.saving_usd_per_h is not None and money.value_usd_per_h is not None:
        said += f"; against GPUs only: saving {money.saving_usd_per_h:,.2f}, value {money.value_usd_per_h:,.2f} USD/h"
    table.caption, table.caption_justify = said, "left"
    return table


def _classes(frame: Frame) -> Table:
    table = _table(
        "classes", "class", "requests/s", "SLO met", "promised", "TTFT p50 / p99, s", "TPOT p50 / p99, ms", "n"
    )
    for each in frame.classes:
        ttft = f"{_number(each.ttft_p50_s)} / {_number(each.ttft_p99_s)}"
        tpot = f"{_number(each.tpot_p50_s, 1000.0)} / {_number(each.tpot_p99_s, 1000.0)}"
        met = Text(_percent(each.attainment))
        if each.attainment is not None and each.attainment < each.attainment_target:
            met.stylize("red")
        promised = _percent(each.attainment_target)
        table.add_row(each.name, f"{each.requests_per_s:.1f}", met, promised, ttft, tpot, f"{each.judged:,}")
    return table


def _pools(frame: Frame) -> Table:
    names = (
        "pool",
        "silicon",
        "memory",
        "in flight",
        "KV",
        "busy",
        "tok/s/user",
        "predicted",
        "quota left",
        "breakers",
    )
    table = _table("pools", *names)
    for each in frame.pools:
        breakers = ", ".join(sorted({backend.breaker for backend in each.backends}))
        table.add_row(
            each.name + (" *" if each.in_share else ""),
            f"{each.accelerators} x {each.accelerator}",
            each.memory_kind or each.memory,
            f"{each.in_flight} / {each.max_in_flight}",
            _percent(each.kv),
            _percent(each.busy),
            _number(each.tokens_per_s_user),
            _number(each.predicted_tokens_per_s_user),
            _percent(each.quota_left),
            Text(breakers, style="" if breakers == "closed" else "red"),
        )
    return table


def _limits(frame: Frame) -> Table:
    table = _table("prices", "limit", "lambda, USD", "per", "used", "of", "binds")
    for each in frame.limits:
        binds = "yes" if each.binds else "no"
        table.add_row(
            each.name, f"{each.lambda_usd_per_unit:.3g}", each.unit, _number(each.use), f"{each.bound:.4g}", binds
        )
    return table


def _promises(frame: Frame) -> Table:
    table = _table("commitments and budgets", "name", "amount", "unit", "per", "used", "even pace", "projected")
    for each in frame.promises:
        figures = (f"{each.used:,.4g}", f"{each.pace:,.4g}", _number(each.projected))
        table.add_row(f"{each.kind} {each.name}", f"{each.amount:,.4g}", each.unit, each.per, *figures)
    return table


def _requests(frame: Frame) -> Table:
    table = _table("last requests", "id", "class", "status", "attempts", "TTFT, s", "E2E, s", "USD")
    for each in (*frame.live, *frame.ended)[:REQUESTS_SHOWN]:
        tried = ", ".join(f"{attempt.backend} {attempt.status}" for attempt in each.attempts)
        latencies = (_number(each.ttft_s), _number(each.e2e_s))
        table.add_row(each.id, each.workload_class, each.status, tried, *latencies, f"{each.usd:.6f}")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{value * factor:.3g}"
