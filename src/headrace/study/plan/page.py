"""The report of a plan: the answer first, then what it rests on; for a board, on a desk or a phone, offline.

answer -> mix -> classes -> money -> share -> limits -> latency -> losses -> proof -> what if -> assumptions
"""

from __future__ import annotations

from html import escape

from headrace.study.panels import PANELS_STYLE, Charts, table
from headrace.study.plan import charts as draw
from headrace.study.plan.answer import OfferAnswer, PlanAnswer
from headrace.study.plan.page_proof import loss_section, proof_section
from headrace.study.plan.page_studies import curve_section, limits_section, what_if_section
from headrace.study.plan.words import answer_sentences, count, percent, usd
from headrace.study.style import page


def plan_page(answer: PlanAnswer) -> str:
    """The page as HTML."""
    charts = Charts()
    sections = (
        _answer(answer),
        _mix(answer, charts),
        _money(answer, charts),
        curve_section(answer, charts),
        limits_section(answer),
        _latency(answer, charts),
        loss_section(answer, charts),
        proof_section(answer, charts),
        what_if_section(answer, charts),
        _assumptions(answer),
        _how_to_read(),
    )
    body = "\n".join((*sections, charts.scripts()))
    return page(escape(answer.scenario), _lead(answer), body, PANELS_STYLE + _STYLE)


def _lead(answer: PlanAnswer) -> str:
    years = "1 year" if answer.years == 1 else f"{answer.years} years"
    classes = ", ".join(escape(each.name) for each in answer.classes)
    return (
        f"A plan for {count(answer.requests_per_day)} requests a day ({classes}), over {years} from "
        f"{escape(answer.start)}: what to hold, what to sign, what to call by the token, and where traffic goes."
    )


def _answer(answer: PlanAnswer) -> str:
    sentences = "".join(f"<p>{escape(each)}</p>" for each in answer_sentences(answer))
    tiles = "".join(
        f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for what, value, kind in _tiles(answer)
    )
    return f'<div class="answer">{sentences}</div><div class="tiles">{tiles}</div>'


def _tiles(answer: PlanAnswer) -> list[tuple[str, str, str]]:
    cost, days = answer.cost, 365.0 * answer.years
    requests = answer.requests_per_day * days
    kinds = {"kept": "good", "missed": "bad"}
    tiles = [
        ("total cost of ownership", usd(cost.spent_usd), ""),
        ("a year", usd(cost.spent_usd / answer.years), ""),
        ("per 1,000 requests", usd(1e3 * cost.spent_usd / requests) if requests else "-", ""),
        ("simulated promises", answer.proof.verdict, kinds.get(answer.proof.verdict, "")),
    ]
    tiles += [(f"{each.name}: share of {each.of}", percent(each.realized), "") for each in answer.shares[:2]]
    return tiles


def _mix(answer: PlanAnswer, charts: Charts) -> str:
    used = [each for each in answer.offers if _used(each)]
    idle = [each for each in answer.offers if not _used(each)]
    head = ["offer", "terms", "units", "accelerators", "power", "busy", "at most", "requests", "output tokens", "money"]
    rows = [_offer_row(each) for each in sorted(used, key=lambda each: -each.usd)]
    parts = ["<h2>The mix</h2>", table(head, rows)]
    if idle:
        names = ", ".join(f"{escape(each.name)} ({escape(each.terms)})" for each in idle)
        parts.append(f"<p>On offer and not in the plan: {names}.</p>")
    if answer.contracts:
        parts += ["<h3>Contracts</h3>", _contracts(answer)]
    if answer.shares:
        parts += ["<h3>Shares, of everything that a share can be of</h3>", _shares(answer)]
    return "\n".join((*parts, charts.placed([draw.mix_panel(answer), draw.classes_panel(answer)])))


def _used(each: OfferAnswer) -> bool:
    return any(each.units) or each.requests > 0.0


def _offer_row(each: OfferAnswer) -> list[str]:
    held = any(each.units)
    units = " / ".join(f"{units:,.0f}" for units in each.units) if held else "-"
    power = f"{each.power_w / 1e6:,.3g} MW" if each.power_w else "-"
    busy = "-" if each.busy is None else percent(each.busy)
    most = "-" if each.busiest is None else percent(each.busiest)
    accelerators = f"{each.accelerators:,.0f} {escape(each.silicon)}" if held else "-"
    parts = percent(each.requests), percent(each.output_tokens)
    return [escape(each.name), escape(each.terms), units, accelerators, power, busy, most, *parts, usd(each.usd)]


def _contracts(answer: PlanAnswer) -> str:
    head = ["contract", "signed", "promised", "paid for nothing", "fee"]
    rows = [
        [
            escape(each.name),
            "yes" if each.signed else "no",
            usd(each.min_usd),
            usd(each.shortfall_usd) if each.signed else "-",
            usd(each.fee_usd) if each.fee_usd else "-",
        ]
        for each in answer.contracts
    ]
    return table(head, rows)


def _shares(answer: PlanAnswer) -> str:
    units = list(dict.fromkeys(unit for each in answer.shares for unit in each.in_units))
    head = ["share", "of", "at least", "at most", *(f"of {unit.replace('_', ' ')}" for unit in units), "why"]
    rows = [
        [
            escape(each.name),
            escape(each.of.replace("_", " ")),
            *("-" if bound is None else percent(bound) for bound in (each.at_least, each.at_most)),
            *(_unit_cell(each.in_units.get(unit), unit == each.of) for unit in units),
            escape(each.reason),
        ]
        for each in answer.shares
    ]
    return table(head, rows, "reasons")


def _unit_cell(part: float | None, own: bool) -> str:
    said = "-" if part is None else percent(part)
    return f"<b>{said}</b>" if own else said


def _money(answer: PlanAnswer, charts: Charts) -> str:
    cost = answer.cost
    panels = [draw.money_panel("By terms", cost.by_terms), draw.money_panel("By silicon", cost.by_silicon)]
    panels.append(draw.money_panel("By vendor", cost.by_vendor))
    if len(cost.by_stage) > 1:
        panels.append(draw.stages_panel(answer))
    head = ["held capacity", "tokens and energy", "promised, not used", "fees", "total", "present value"]
    row = [cost.units_usd, cost.requests_usd, cost.shortfalls_usd, cost.fees_usd, cost.spent_usd, cost.present_usd]
    said = (
        f"<p>Users' waiting is worth {usd(cost.waiting_usd)} more by the scenario's value of time. The plan counts it, "
        "and nobody pays it as money.</p>"
        if cost.waiting_usd
        else ""
    )
    money = table(head, [[usd(value) for value in row]])
    return "\n".join(("<h2>The money</h2>", money, said, charts.placed(panels)))


def _latency(answer: PlanAnswer, charts: Charts) -> str:
    head = ["class", "requests a day", "TTFT", "SLO", "time per token", "SLO", "whole answer", "without the share"]
    head += ["money per 1,000 requests", "the next 1,000"]
    rows = []
    for each in answer.classes:
        after, before = each.after, each.before
        next_usd = "-" if each.next_request_usd is None else usd(1e3 * each.next_request_usd)
        rows.append(
            [
                escape(each.name),
                count(each.requests_per_day),
                "-" if after is None else _seconds(after.ttft_s),
                "-" if each.slo_ttft_s is None else _seconds(each.slo_ttft_s),
                "-" if after is None else _seconds(after.tpot_s),
                "-" if each.slo_tpot_s is None else _seconds(each.slo_tpot_s),
                "-" if after is None else _seconds(after.e2e_s),
                "-" if before is None else _seconds(before.e2e_s),
                usd(1e3 * each.usd_per_request),
                next_usd,
            ]
        )
    wanted = (("ttft_s", "First token, mean"), ("tpot_s", "Time per token, mean"), ("e2e_s", "Whole answer, mean"))
    panels = [panel for what, title in wanted if (panel := draw.latency_panel(answer, what, title)) is not None]
    text = (
        "<p>Means that the plan expects at its own load; an SLO is a threshold that all but a small part stay under. "
        "Before: the best plan without the share's offers.</p>"
    )
    return "\n".join(("<h2>What users get</h2>", text, table(head, rows), charts.placed(panels)))


def _seconds(value: float) -> str:
    return f"{1e3 * value:.3g} ms" if value < 1.0 else f"{value:.3g} s"


def _assumptions(answer: PlanAnswer) -> str:
    head = ["what", "value", "source"]
    rows = [[escape(each.what), escape(each.value), escape(each.source)] for each in answer.assumptions]
    text = "<p>As the scenario states them, with the source that it gives; then what the speed model rests on.</p>"
    listed = table(head, rows, "sources")
    return (
        f"<h2>Assumptions</h2>{text}<details><summary>{len(rows)} figures and their sources</summary>{listed}</details>"
    )


def _how_to_read() -> str:
    lines = [
        "Units are whole replicas; where stages differ, they are given stage by stage.",
        "A price at this plan is what one more unit of a limit would save or cost with the units held as they are; "
        "a full solve may hold other units.",
        "Loads add up: a replica that serves two sizes is taken to be used in parts. A simulation does not.",
        "A simulation draws its traffic from the plan's own demand: it proves the plan, not the forecast.",
        "A promise counts as missed where even the upper end of the 95 % interval of what was simulated lies below it.",
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h2>How to read this</h2><ul>{items}</ul>"


_STYLE = """
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0 4px}
.tile{border:1px solid #e4e7eb;border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:23px;font-weight:650;margin-bottom:2px}.tile span{color:#52606d;font-size:13px}
.tile.good{background:#edf7ee;border-color:#b7dfbb}.tile.bad{background:#fdf0ef;border-color:#f2c0bc}
.kept{color:#1b7f2a;font-weight:600}.missed{color:#b42318;font-weight:600}
.sources td{white-space:normal;text-align:left;vertical-align:top}
.sources td:first-child{font-family:monospace;font-size:12px}
.reasons td:last-child{white-space:normal;min-width:240px;text-align:left}
.sources th,.reasons th:last-child{text-align:left}
details summary{cursor:pointer;color:#1f2933;margin:8px 0}
@media(max-width:600px){h1{font-size:22px!important}.answer p{font-size:16px}.tile b{font-size:20px}}
"""
