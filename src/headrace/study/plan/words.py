"""Figures and findings in words, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.study.plan.answer import OfferAnswer, PlanAnswer
from headrace.study.plan.findings import Interval

SCALES = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def usd(value: float) -> str:
    """Dollars to three digits: $1.23 M."""
    sign, size = "-" if value < 0.0 else "", abs(value)
    for scale, letter in SCALES:
        if size >= scale:
            return (
                f"{sign}${size / scale:.3g} {letter}"
                if size < 999.5 * scale
                else f"{sign}${size / scale:,.0f} {letter}"
            )
    return f"{sign}${size:.3g}"


def count(value: float) -> str:
    """A large number to three digits: 1.23 M."""
    for scale, letter in SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {letter}"
    return f"{value:.3g}"


def percent(fraction: float) -> str:
    """A fraction as a percentage, of at most three digits."""
    return f"{100.0 * fraction:.3g} %"


def amount(found: Interval | None) -> str:
    """A part of a sample; `-` of nothing."""
    return "-" if found is None else percent(found.value)


def capital(text: str) -> str:
    """With a capital first letter; the rest as it is."""
    return text[:1].upper() + text[1:]


def answer_sentences(answer: PlanAnswer) -> Iterator[str]:
    """What to do, what it costs, and whether the simulation bears it out: a sentence each."""
    used = sorted((each for each in answer.offers if any(each.units) or each.requests), key=lambda each: -each.usd)
    held = [_held(each) for each in used if any(each.units)]
    called = [f"{percent(each.requests)} of requests to {each.name}" for each in used if not any(each.units)]
    parts = [f"hold {_listed(held)}"] if held else []
    parts += [f"sign {_listed([each.name for each in answer.contracts if each.signed])}"] if _signed(answer) else []
    parts += [f"send {_listed(called)}, by the token"] if called else []
    yield f"{capital(_listed(parts, '; '))}." if parts else "There is nothing to serve, and nothing to hold."
    yield _money(answer)
    yield _proof(answer)


def _signed(answer: PlanAnswer) -> bool:
    return any(each.signed for each in answer.contracts)


def _held(each: OfferAnswer) -> str:
    first, last = each.units[0], each.units[-1]
    units = f"{first:,.0f}" if min(each.units) == max(each.units) else f"{first:,.0f} to {last:,.0f}"
    return f"{units} units of {each.name} ({each.accelerators:,.0f} {each.silicon}, {each.terms})"


def _money(answer: PlanAnswer) -> str:
    cost = answer.cost
    years = "1 year" if answer.years == 1 else f"{answer.years} years"
    said = f"Total cost of ownership over {years}: {usd(cost.spent_usd)}"
    if abs(cost.present_usd - cost.spent_usd) > 0.005 * cost.spent_usd:
        said += f" ({usd(cost.present_usd)} in present value)"
    if cost.waiting_usd:
        said += f"; users' waiting is worth {usd(cost.waiting_usd)} more"
    gap = f"{100.0 * answer.solve.gap:.2g} %"
    proven = f"no plan is cheaper by more than {gap}" if answer.solve.gap else "no plan is cheaper"
    late = "" if answer.solve.ending == "optimal" else " (the solver ran out of time)"
    return f"{said}; {proven}{late}."


def _proof(answer: PlanAnswer) -> str:
    proof = answer.proof
    if proof.verdict == "not proven":
        return "It was not simulated: nothing here says that it keeps its word."
    tightened = len(proof.rounds) - 1
    rounds = "" if not tightened else f" after {tightened} tightening{'s' if tightened > 1 else ''}"
    if proof.verdict == "kept":
        losses = sum(run.kind == "loss" for run in proof.runs)
        beside = f" and {losses} losses" if losses > 1 else " and a loss" if losses else ""
        return f"Simulated in its busiest hours{beside}, it keeps every SLO that it promises{rounds}."
    missed = _listed(proof.rounds[-1].missed)
    return f"In simulation it does not keep its word{rounds}: {missed}. {capital(proof.note)}."


def _listed(parts: list[str], last: str = " and ") -> str:
    if len(parts) < 2:
        return "".join(parts)
    comma = last if last == "; " else ", "
    return f"{comma.join(parts[:-1])}{last}{parts[-1]}"
