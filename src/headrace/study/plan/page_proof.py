"""The parts of a plan's report that a simulation speaks in: losses, rising load, a bad day, and the rounds before."""

from __future__ import annotations

from html import escape

from headrace.study.panels import Charts, table
from headrace.study.plan import charts as draw
from headrace.study.plan.answer import PlanAnswer
from headrace.study.plan.findings import ClassFinding, Round, RunFinding
from headrace.study.plan.words import capital, percent, usd

MOST_PANELS = 6


def loss_section(answer: PlanAnswer, charts: Charts) -> str:
    """What breaks when a vendor, or a site, is lost; empty where no rule asks."""
    losses = [run for run in answer.proof.runs if run.kind == "loss"]
    if not losses:
        return ""
    text = (
        "<p>At the planned peak, everything of it goes down at once and stays away. Broken: requests that were under "
        "way there. From then on the degraded thresholds hold; classes that may wait are held back.</p>"
    )
    head = ["lost", "broken", *(escape(each.workload_class) for each in losses[0].classes), "verdict"]
    rows = [
        [
            f"{escape(run.name)}<br><small>{escape(', '.join(run.lost))}</small>",
            f"{run.cut:,}",
            *(_attainment(each) for each in run.classes),
            verdict(run),
        ]
        for run in losses
    ]
    panels = charts.placed(draw.loss_panel(run) for run in losses[:MOST_PANELS])
    return "\n".join(("<h2>When something is lost</h2>", text, table(head, rows), panels))


def proof_section(answer: PlanAnswer, charts: Charts) -> str:
    """Whether the plan keeps its word in simulation."""
    proof = answer.proof
    if not proof.runs:
        return "<h2>Proof</h2><p>This plan was not simulated.</p>"
    parts = [f"<h2>Proof: {_word(proof.verdict)}</h2>"]
    parts.append(
        f"<p>The production policy engine serves traffic drawn from this plan's demand in its busiest period "
        f"({escape(proof.period)}). {escape(_note(proof.note))}</p>"
    )
    parts.append(_runs(answer))
    if any(run.shares for run in proof.runs):
        parts += ["<h3>Shares, planned and simulated</h3>", _shares(answer)]
    if len(proof.rounds) > 1:
        parts += ["<h3>How it came about</h3>", _rounds(proof.rounds)]
    peaks = [run for run in proof.runs if run.kind == "peak"]
    parts.append(charts.placed(draw.load_panel(run) for run in peaks))
    notes = dict.fromkeys(note for run in proof.runs for note in run.notes)
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f"<p>Fleet and traffic were thinned alike; whole units had to be rounded:</p><ul>{items}</ul>")
    return "\n".join(parts)


def verdict(run: RunFinding) -> str:
    """Of one run, as HTML."""
    if all(each.promised is None for each in run.classes):
        return "no promise"
    return _word("kept") if run.kept else f'<span class="missed">missed: {escape(", ".join(run.missed))}</span>'


def _runs(answer: PlanAnswer) -> str:
    head = ["simulated", "class", "requests", "attainment", "95 % interval", "promised", "TTFT p50 / p99"]
    head += ["TTFT planned, mean", "whole answer p50 / p99", "USD/h, planned", "waiting, planned"]
    rows: list[list[str]] = []
    for run in answer.proof.runs:
        if run.kind == "loss":
            continue
        for number, each in enumerate(run.classes):
            name = f"{escape(run.name)}, load {run.load:g}" if number == 0 else ""
            cost, waiting = "", ""
            if number == 0:
                cost = _beside(run.usd_per_h, run.planned_usd_per_h)
                waiting = _beside(run.waiting_usd_per_h, run.planned_waiting_usd_per_h)
            rows.append([name, *_class_cells(each), cost, waiting])
    return table(head, rows)


def _class_cells(each: ClassFinding) -> list[str]:
    seen = each.attainment
    return [
        escape(each.workload_class),
        f"{each.requests:,}",
        _attainment(each),
        "-" if seen is None else f"{percent(seen.low)} to {percent(seen.high)}",
        "-" if each.promised is None else percent(each.promised),
        f"{_seconds(each.ttft_s.p50)} / {_seconds(each.ttft_s.p99)}",
        _seconds(each.planned_ttft_s),
        f"{_seconds(each.e2e_s.p50)} / {_seconds(each.e2e_s.p99)}",
    ]


def _beside(found: float | None, planned: float | None) -> str:
    return "-" if found is None or planned is None else f"{usd(found)}, {usd(planned)}"


def _shares(answer: PlanAnswer) -> str:
    head = ["simulated", "share", "of", "planned", "simulated"]
    rows = [
        [
            escape(run.name),
            escape(each.name),
            escape(each.of),
            percent(each.planned),
            "-" if each.realized is None else percent(each.realized),
        ]
        for run in answer.proof.runs
        for each in run.shares
    ]
    return table(head, rows)


def _rounds(rounds: list[Round]) -> str:
    head = ["round", "money", "missed", "then at most used"]
    rows = [
        [
            str(number),
            usd(each.spent_usd),
            escape("; ".join(each.missed)) or "nothing",
            escape(", ".join(f"{name} {percent(most)}" for name, most in each.tightened.items())) or "-",
        ]
        for number, each in enumerate(rounds, 1)
    ]
    return table(head, rows, "reasons")


def _attainment(each: ClassFinding) -> str:
    if each.attainment is None:
        return "-"
    said = percent(each.attainment.value)
    if each.promised is None:
        return said
    return f'<span class="{"kept" if each.kept else "missed"}">{said}</span>'


def _word(said: str) -> str:
    return f'<span class="{said}">{said}</span>' if said in ("kept", "missed") else escape(said)


def _note(note: str) -> str:
    return f"{capital(note)}." if note else ""


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1e3 * value:.3g} ms" if value < 1.0 else f"{value:.3g} s"
