"""A plan as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from headrace.study.plan.answer import PlanAnswer
from headrace.study.plan.compare import Comparison
from headrace.study.plan.findings import RunFinding
from headrace.study.plan.words import amount, answer_sentences, percent, usd

WIDE = 140  # characters, where the output is no terminal


def show_answer(answer: PlanAnswer) -> None:
    """Print what the plan is, what it costs, where traffic goes, what binds, and whether it kept its word."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    for sentence in answer_sentences(answer):
        console.print(sentence, highlight=False)
    for table in _tables(answer):
        console.print(table)


def show_comparison(found: Comparison) -> None:
    """Print both plans, figure by figure."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    table = _new(f"{found.first}  ->  {found.second}", "about", "figure", "first", "second", "change", "relative")
    for each in found.differences:
        name = each.name or each.about
        values = (_figure(value) for value in (each.first, each.second, each.change))
        relative = "-" if each.relative is None else f"{100.0 * each.relative:+.3g} %"
        table.add_row(name, f"{each.figure}{', ' + each.unit if each.unit else ''}", *values, relative)
    console.print(table)
    console.print(f"proof: {found.verdicts[0]} -> {found.verdicts[1]}", highlight=False)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _tables(answer: PlanAnswer) -> list[Table]:
    found = [_offers(answer), _classes(answer)]
    if answer.shares:
        found.append(_shares(answer))
    if answer.prices:
        found.append(_prices(answer))
    if answer.proof.runs:
        found.append(_proof(answer))
    return found


def _offers(answer: PlanAnswer) -> Table:
    table = _new("the mix", "offer", "terms", "units", "accelerators", "busy", "requests", "tokens out", "USD")
    for each in answer.offers:
        if any(each.units) or each.requests > 0.0:
            units = " / ".join(f"{units:,.0f}" for units in each.units) if any(each.units) else "-"
            accelerators = f"{each.accelerators:,.0f}" if each.accelerators else "-"
            busy = "-" if each.busy is None else f"{percent(each.busy)}, {percent(each.busiest or 0.0)} at most"
            shares = percent(each.requests), percent(each.output_tokens)
            table.add_row(each.name, each.terms, units, accelerators, busy, *shares, usd(each.usd))
    return table


def _classes(answer: PlanAnswer) -> Table:
    table = _new("classes", "class", "requests a day", "goes to", "TTFT, s", "TPOT, ms", "E2E, s", "USD / request")
    for each in answer.classes:
        places = ", ".join(f"{name} {percent(part)}" for name, part in each.places.items())
        after = each.after
        latency = ("-", "-", "-")
        if after is not None:
            latency = (f"{after.ttft_s:.3g}", f"{1e3 * after.tpot_s:.3g}", f"{after.e2e_s:.3g}")
        table.add_row(each.name, f"{each.requests_per_day:,.0f}", places, *latency, f"{each.usd_per_request:.3g}")
    return table


def _shares(answer: PlanAnswer) -> Table:
    table = _new("shares", "share", "of", "at least", "at most", "realized", "why")
    for each in answer.shares:
        bounds = ("-" if bound is None else percent(bound) for bound in (each.at_least, each.at_most))
        table.add_row(each.name, each.of, *bounds, percent(each.realized), each.reason)
    return table


def _prices(answer: PlanAnswer) -> Table:
    table = _new("prices at this plan: one more unit of each limit", "limit", "name", "USD", "per", "binds")
    for each in answer.prices:
        table.add_row(each.kind, each.name, f"{each.usd:,.3g}", each.unit, f"{each.binds} of {each.rows}")
    return table


def _proof(answer: PlanAnswer) -> Table:
    title = f"proof: {answer.proof.verdict} ({answer.proof.period})"
    table = _new(
        title, "simulated", "load", "requests", "SLO attainment (promised)", "USD/h (planned)", "waiting", "verdict"
    )
    for run in answer.proof.runs:
        found = ", ".join(
            f"{each.workload_class} {amount(each.attainment)}"
            + ("" if each.promised is None else f" ({percent(each.promised)})")
            for each in run.classes
            if each.attainment is not None
        )
        cost = _beside(run.usd_per_h, run.planned_usd_per_h)
        waiting = _beside(run.waiting_usd_per_h, run.planned_waiting_usd_per_h)
        table.add_row(run.name, f"{run.load:g}", f"{run.requests:,}", found, cost, waiting, _verdict(run))
    return table


def _beside(found: float | None, planned: float | None) -> str:
    return "-" if found is None or planned is None else f"{found:,.2f} ({planned:,.2f})"


def _verdict(run: RunFinding) -> str:
    if all(each.promised is None for each in run.classes):
        return "no promise"
    return "kept" if run.kept else f"missed: {', '.join(run.missed)}"


def _new(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table
