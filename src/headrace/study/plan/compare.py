"""Two plans side by side: what they cost, what they hold, what users get, and whether they keep their word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headrace.study.plan.answer import ClassAnswer, PlanAnswer


class Difference(msgspec.Struct, frozen=True):
    """One figure of both plans; None where a plan has none.

    Attributes:
        about: `cost`, `offer`, `class`, `share` or `solve`; `name`: whose figure it is.
        change: second - first; None where one of them is missing.
        relative: change / first; None where that says nothing.
    """

    about: str
    name: str
    figure: str
    unit: str
    first: float | None
    second: float | None
    change: float | None
    relative: float | None


class Comparison(msgspec.Struct, frozen=True):
    """Two plans, figure by figure; figures that are 0 or missing in both are left out."""

    schema: int
    command: str
    first: str
    second: str
    verdicts: tuple[str, str]
    differences: list[Difference]


def compare_plans(first: PlanAnswer, second: PlanAnswer) -> Comparison:
    """Every figure that both kinds of answer have."""
    rows = [*_costs(first, second), *_offers(first, second), *_classes(first, second), *_shares(first, second)]
    found = [row for row in rows if row.first or row.second]
    verdicts = first.proof.verdict, second.proof.verdict
    return Comparison(1, "study compare", first.scenario, second.scenario, verdicts, found)


def _costs(first: PlanAnswer, second: PlanAnswer) -> Iterator[Difference]:
    named = (
        ("total cost of ownership", "spent_usd"),
        ("present value", "present_usd"),
        ("held capacity", "units_usd"),
        ("tokens and energy", "requests_usd"),
        ("promised, not used", "shortfalls_usd"),
        ("fees", "fees_usd"),
        ("users' waiting", "waiting_usd"),
    )
    for figure, field in named:
        yield _difference("cost", "", figure, "USD", getattr(first.cost, field), getattr(second.cost, field))
    yield _difference("solve", "", "gap", "", first.solve.gap, second.solve.gap)


def _offers(first: PlanAnswer, second: PlanAnswer) -> Iterator[Difference]:
    offers = [{each.name: each for each in answer.offers} for answer in (first, second)]
    for name in _names(*offers):
        pair = [found.get(name) for found in offers]
        for figure, unit, field in (
            ("accelerators", "", "accelerators"),
            ("power", "W", "power_w"),
            ("part of requests", "", "requests"),
            ("part of output tokens", "", "output_tokens"),
            ("money", "USD", "usd"),
        ):
            values = [None if each is None else float(getattr(each, field)) for each in pair]
            yield _difference("offer", name, figure, unit, *values)


def _classes(first: PlanAnswer, second: PlanAnswer) -> Iterator[Difference]:
    classes = [{each.name: each for each in answer.classes} for answer in (first, second)]
    for name in _names(*classes):
        pair = [found.get(name) for found in classes]
        for figure, unit, field in (
            ("requests a day", "", "requests_per_day"),
            ("first token, mean", "s", "ttft_s"),
            ("time per token, mean", "s", "tpot_s"),
            ("whole answer, mean", "s", "e2e_s"),
            ("money per request", "USD", "usd_per_request"),
        ):
            yield _difference("class", name, figure, unit, *(_of_class(each, field) for each in pair))


def _of_class(each: ClassAnswer | None, field: str) -> float | None:
    if each is None:
        return None
    if field in ("ttft_s", "tpot_s", "e2e_s"):
        return None if each.after is None else float(getattr(each.after, field))
    return float(getattr(each, field))


def _shares(first: PlanAnswer, second: PlanAnswer) -> Iterator[Difference]:
    shares = [{each.name: each.realized for each in answer.shares} for answer in (first, second)]
    for name in _names(*shares):
        yield _difference("share", name, "realized", "", *(found.get(name) for found in shares))


def _difference(about: str, name: str, figure: str, unit: str, first: float | None, second: float | None) -> Difference:
    change = None if first is None or second is None else second - first
    relative = change / first if change is not None and first else None
    return Difference(about, name, figure, unit, first, second, change, relative)


def _names(*found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for names in found for name in names))
