"""The parts of a plan's report that took solving again: the share, the limits, what would turn the plan, futures."""

from __future__ import annotations

from html import escape

from headrace.study.panels import Charts, table
from headrace.study.plan import charts as draw
from headrace.study.plan.answer import BreakEven, Curve, FuturesAnswer, PlanAnswer
from headrace.study.plan.curve import HIGHEST_FACTOR, LOWEST_FACTOR
from headrace.study.plan.desk import EXPECTED
from headrace.study.plan.words import percent, unit_word, usd


def curve_section(answer: PlanAnswer, charts: Charts) -> str:
    """The curve over the share."""
    curve = answer.studies.curve
    if curve is None or not any(curve.points.values()):
        return ""
    counted = answer.cost.waiting_usd > 0.0
    panels = [draw.curve_panel(curve, counted)]
    if counted:
        panels.append(draw.money_of_curve_panel(curve))
    what = escape(", ".join(curve.what))
    text = (
        f"The best plan at every share of {escape(unit_word(curve.of))} for {what}: everything else is free to change."
    )
    heading = f"<h2>Which share, and share of what</h2><p>{text} {_verdict(curve)}</p>"
    return f"{heading}\n{charts.placed(panels)}"


def _verdict(curve: Curve) -> str:
    best, until = curve.best.get(EXPECTED), curve.pays_until.get(EXPECTED)
    if best is None or until is None:
        return "No share has a plan."
    band, most = list(curve.best.values()), list(curve.pays_until.values())
    spread = "" if min(band) == max(band) else f" ({percent(min(band))} to {percent(max(band))} over the intervals)"
    wide = "" if min(most) == max(most) else f" ({percent(min(most))} to {percent(max(most))})"
    none = next((point for point in curve.points.get(EXPECTED, []) if point.share == 0.0), None)
    pays = f"up to {percent(until)}{wide} it costs no more than none at all"
    if none is not None and none.spent_usd is None:
        pays = "with none of it no plan keeps the other rules"
    tried = max(point.share for point in curve.points[EXPECTED] if point.spent_usd is not None)
    end = ", the most that was tried" if best == tried else ""
    return f"<b>The cheapest is {percent(best)}{spread}{end}; {pays}.</b>"


def limits_section(answer: PlanAnswer) -> str:
    """What binds, and what one more unit of each limit is worth."""
    parts = ["<h2>What binds, and what more of it is worth</h2>"]
    rules = answer.studies.rules
    if rules:
        head = ["rule", "kind", "costs", "a step of it", "full solve", "price at this plan", "why"]
        rows = [
            [
                escape(each.name),
                escape(each.kind),
                _usd(each.cost_usd),
                escape(each.step or "-"),
                _usd(each.step_usd),
                _usd(each.price_usd),
                escape(each.reason),
            ]
            for each in rules
        ]
        parts.append(
            "<p>What each rule costs: this plan less the best plan without it. Differences below the solver's gap mean "
            "nothing.</p>"
        )
        parts.append(table(head, rows, "reasons"))
    if answer.prices:
        head = ["limit", "name", "one more unit", "of", "binds"]
        rows = [
            [
                escape(unit_word(each.kind)),
                escape(each.name),
                f"{'+' if each.usd > 0 else ''}{usd(each.usd)}",
                escape(each.unit),
                f"{each.binds} of {each.rows}" if each.rows > 1 else ("yes" if each.binds else "no"),
            ]
            for each in sorted(answer.prices, key=lambda each: (each.kind, -abs(each.usd)))
        ]
        said = "With units and contracts as they are; negative: it saves. Of capacity: before what a unit costs. "
        said += "Of an SLO: if each request took twice as many unit seconds."
        parts.append(f"<h3>Prices at this plan</h3><p>{said}</p>")
        parts.append(table(head, rows))
    return "\n".join(parts) if len(parts) > 1 else ""


def what_if_section(answer: PlanAnswer, charts: Charts) -> str:
    """Sensitivity, break-even prices, futures."""
    studies = answer.studies
    parts, panels = ["<h2>What would turn the plan</h2>"], []
    if studies.swings:
        panels.append(draw.swings_panel(studies.swings, answer.solve.objective_usd))
    if studies.futures is not None:
        panels.append(draw.futures_panel(studies.futures))
        parts.append(f"<p>{_futures(studies.futures, answer)}</p>")
    if panels:
        parts.append(charts.placed(panels))
    if studies.break_even:
        parts.append(_break_even(studies.break_even))
    if studies.left_out:
        parts.append(f"<p>No time was left for: {escape('; '.join(studies.left_out))}.</p>")
    return "\n".join(parts) if len(parts) > 1 else ""


def _futures(futures: FuturesAnswer, answer: PlanAnswer) -> str:
    ordered = sorted(futures.usd)
    said = [
        f"In {futures.count} sampled futures this plan costs {usd(ordered[0])} to {usd(ordered[-1])}, users' waiting "
        f"counted, and misses an SLO in {percent(futures.missed)} of them (allowed: {percent(futures.miss_chance)})."
    ]
    noise_usd = answer.solve.objective_usd * futures.noise
    if futures.perfect_usd is not None:
        said.append(f"Knowing the future would save {_beyond(futures.perfect_usd, noise_usd)} on average.")
    if futures.value_of_waiting_usd is not None:
        gain = futures.value_of_waiting_usd
        waits = f"Waiting {futures.waited_months} months with what is lasting, on what can be rented meanwhile,"
        if abs(gain) <= noise_usd:
            said.append(f"{waits} neither saves nor costs more than the solver's gap ({usd(noise_usd)}).")
        else:
            said.append(f"{waits} {'saves' if gain > 0 else 'costs'} {usd(abs(gain))} on average.")
    if futures.covered and futures.covered_usd is not None:
        more = futures.covered_usd - answer.solve.objective_usd
        rest = "" if futures.covered_missed is None else f"; it misses in {percent(futures.covered_missed)}"
        said.append(f"A plan that covers enough of them costs {usd(more)} more as expected{rest}.")
    return " ".join(said)


def _beyond(value: float, noise_usd: float) -> str:
    return usd(value) if value > noise_usd else f"no more than the solver's gap ({usd(noise_usd)})"


def _break_even(found: list[BreakEven]) -> str:
    cases = list(dict.fromkeys(case for each in found for case in each.factor))
    head = ["offer", "in the plan", *(f"uses it below, {escape(case)}" for case in cases)]
    rows = [
        [escape(each.offer), "yes" if each.used else "no", *(_factor(each, case) for case in cases)] for each in found
    ]
    text = (
        "<p>Times what is asked today. Below that price the best plan sends work there; above, none. "
        f"Tried from {LOWEST_FACTOR:g} to {HIGHEST_FACTOR:g} times.</p>"
    )
    return f"<h3>Break-even prices</h3>{text}{table(head, rows)}"


def _factor(each: BreakEven, case: str) -> str:
    if case not in each.factor:
        return "-"
    factor = each.factor[case]
    if factor is None:
        return "at any price tried" if each.always[case] else "at no price tried"
    return f"{factor:.2f} x"


def _usd(value: float | None) -> str:
    return "-" if value is None else usd(value)
