"""The page of a sweep: the answer first, then the curves; for whoever signs the contract, on a desk or a phone.

It needs nothing from outside; its charts are panels (`study.panels`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from headrace.study.panels import PANELS_STYLE, Charts, Panel, table
from headrace.study.style import page
from headrace.study.sweep.curves import CONFIDENCE, PER_TASK, Case, Curves, Payoff, Worth
from headrace.study.sweep.panels import Measure, colour, panel, step_panel
from headrace.study.sweep.rows import Row
from headrace.units import SECONDS_PER_MINUTE

MOST_CASES = 24


@dataclass(frozen=True, slots=True)
class About:
    """What a page says of its sweep.

    Attributes:
        share: the steered share in words, e.g. "compute on cerebras, groq"; None: none is steered.
        traffic: the traffic in words.
        values_of_time: USD per second of each class.
    """

    title: str
    share: str | None
    traffic: str
    values_of_time: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    text: str
    rows: Sequence[Sequence[Panel]]


def sweep_page(found: Sequence[Row], about: About) -> str:
    """The page as HTML. Cases (fleets and axes) beyond the first few are left out, and the page says so."""
    curves = Curves(found)
    charts = Charts()
    shown = curves.cases[:MOST_CASES]
    parts = [_legend(curves)]
    for case in shown:
        parts.append(_case(curves, case, about, charts))
    if len(shown) < len(curves.cases):
        parts.append(f"<p>{len(curves.cases) - len(shown)} more cases are in the table, not on this page.</p>")
    parts.append(_how_to_read())
    parts.append(charts.scripts())
    return page(escape(about.title), _lead(curves, found, about), "\n".join(parts), PANELS_STYLE + _STYLE)


def _lead(curves: Curves, found: Sequence[Row], about: About) -> str:
    requests = max(int(row["requests"] or 0) for row in found)
    seeds = "one seed, so nothing is said about the spread"
    if curves.seeds > 1:
        bands = f"{_percent(CONFIDENCE)} confidence intervals of the mean over them (Student's t)"
        seeds = f"{curves.seeds} seeds; bands are {bands}"
    share = f"Share = fraction of {escape(about.share)}. " if about.share else ""
    return f"{share}{len(found):,} simulations of up to {requests:,} requests each: {escape(about.traffic)}; {seeds}."


def _legend(curves: Curves) -> str:
    chips = []
    for name in [*curves.policies, *curves.references]:
        dashed = "dashed" if name in curves.references else "solid"
        chips.append(
            f'<span class="chip"><i style="border-top:3px {dashed} {colour(curves, name)}"></i>{escape(name)}</span>'
        )
    return f'<div class="legend">{"".join(chips)}</div>'


def _case(curves: Curves, case: Case, about: About, charts: Charts) -> str:
    parts = [f"<h2>{escape(_case_name(case))}</h2>"] if len(curves.cases) > 1 else []
    parts += [_answer(curves, case), _table(curves, case)]
    for section in _sections(curves, case, about):
        parts.append(f"<h3>{escape(section.title)}</h3><p>{section.text}</p>")
        for row in section.rows:
            parts.append(charts.placed(row))
    return "\n".join(parts)


def _case_name(case: Case) -> str:
    said = ((name.removeprefix("set."), value) for name, value in case)
    return ", ".join(str(value) if name == "fleet" else f"{name} = {value:g}" for name, value in said)


def _answer(curves: Curves, case: Case) -> str:
    """One sentence a load on where the next percent stops paying, for the first policy."""
    if not curves.policies:
        return ""
    policy, items = curves.policies[0], []
    for load in curves.loads:
        found = curves.payoff(case, load, policy)
        if found is not None:
            at = "" if len(curves.loads) == 1 else f"At load {load:g}: "
            items.append(f"<p><b>{at}{_verdict(found, curves.worth)}</b> ({escape(policy)})</p>")
    return f'<div class="answer">{"".join(items)}</div>'


def _verdict(found: Payoff, worth: Worth) -> str:
    if found.stops is None:
        return f"The next percent still pays at {_percent(found.pays_until)}, the largest share that was tried."
    loss = f"{-found.stops.band.mean:.2g} {worth.unit}"
    hedge = "" if found.sure else " That step is within the noise."
    if found.best.mean <= 0.0 and found.pays_until == 0.0:
        return f"No share pays: already the first points cost {loss} each, waiting included.{hedge}"
    return (
        f"The next percent stops paying at {_percent(found.pays_until)}: beyond it each further point costs {loss}, "
        f"waiting included.{hedge} The best share is {_percent(found.best_share)}, worth "
        f"{found.best.mean:{worth.form}} {worth.unit}."
    )


def _percent(fraction: float) -> str:
    return f"{100.0 * fraction:g} %"


def _table(curves: Curves, case: Case) -> str:
    """Loads and policies in rows: the best share, what it is worth, what it costs, until where it pays."""
    if not curves.policies:
        return ""
    unit, form = curves.worth.unit, curves.worth.form
    head = ["policy", "best share", f"value captured, {unit}", f"cost, {unit}", "next percent pays until"]
    loads = len(curves.loads) > 1
    rows = []
    for load in curves.loads:
        for policy in curves.policies:
            found = curves.payoff(case, load, policy)
            if found is None:
                continue
            spread = "" if found.best.low is None else f" ({found.best.low:{form}} to {found.best.high:{form}})"
            costs = curves.curve(case, load, policy, curves.worth.cost)
            cost = next((f"{point.band.mean:{form}}" for point in costs if point.share == found.best_share), "-")
            cells = [escape(policy), f"{_percent(found.best_share)}", f"{found.best.mean:{form}}{spread}", cost]
            cells.append(f"{_percent(found.pays_until)}" + (" or more" if found.stops is None else ""))
            rows.append(([f"{load:g}"] if loads else []) + cells)
    return table((["load"] if loads else []) + head, rows)


def _sections(curves: Curves, case: Case, about: About) -> Iterator[_Section]:
    classes = _classes(curves.rows(case))
    worth = curves.worth
    judged = any(row.get(worth.value) is not None for row in curves.rows(case))
    if judged:
        money = Measure(worth.value, "Value captured", 1.0, worth.unit, ".3g", None, line_at_zero=True)
        text = (
            "What the share saves against the same traffic without its pools, waiting counted as money"
            f"{_values(about.values_of_time)}. Above zero, the share is worth more than its tokens cost."
        )
        yield _Section("What it is worth", text, _over_loads(curves, case, [money]))
    if judged and any(curves.next_percent(case, load, name) for load in curves.loads for name in curves.policies):
        text = "What one more percentage point adds, from each share to the next. Where a line falls below zero, stop."
        steps = [step_panel(curves, case, load) for load in curves.loads]
        yield _Section("Where the next percent stops paying", text, [steps])
    yield _paid(curves, case)
    yield from _waiting(curves, case, classes)
    text = "Requests that met every threshold of their class, of all that arrived."
    kept = [
        Measure(f"class.{name}.slo_attainment", f"{name}: SLO attainment", 100.0, "%", ".4g", most=100.0)
        for name in classes
    ]
    yield _Section("Promises kept", text, _over_loads(curves, case, kept))
    if about.share is not None:
        held = [
            Measure("share_realized", "Realized share", 100.0, "%", ".4g"),
            Measure("worst_window_pp", "Worst five minutes off target", 1.0, "points", ".2g"),
        ]
        text = "What the share came to in the end, and in its worst feasible five-minute window."
        yield _Section("Whether the share holds", text, _over_loads(curves, case, held))


def _paid(curves: Curves, case: Case) -> _Section:
    worth = curves.worth
    if worth is PER_TASK:
        title, text = "Tokens and energy", "List prices and energy of what was used; capacity by the hour is left out."
    else:
        title = "Cost of all pools"
        text = "List prices and energy of what was used, and capacity that is paid by the hour."
    cost = Measure(worth.cost, title, 1.0, worth.unit, ".4g")
    return _Section("What is paid", f"{text} At 0 % the share's pools are gone.", _over_loads(curves, case, [cost]))


def _waiting(curves: Curves, case: Case, classes: Iterable[str]) -> Iterator[_Section]:
    text = "Half of the requests are faster than p50, one in a hundred is slower than p99."
    yield _Section("How long users wait", text, _over_loads(curves, case, _waits(classes)))
    agents = _classes(curves.rows(case), ".tasks")
    if agents:
        text = (
            "A task is a session with the sub-agents it started: from its first request to its last answer, tools and "
            "people included; and what of that was waiting for answers."
        )
        yield _Section("How long tasks take", text, _over_loads(curves, case, _tasks(agents)))


def _waits(classes: Iterable[str]) -> list[Measure]:
    found = []
    for name in classes:
        found += [
            Measure(f"class.{name}.ttft_p50_s", f"{name}: first token, p50", 1.0, "s"),
            Measure(f"class.{name}.tpot_p50_s", f"{name}: time per token, p50", 1000.0, "ms"),
            Measure(f"class.{name}.e2e_p50_s", f"{name}: whole answer, p50", 1.0, "s"),
            Measure(f"class.{name}.e2e_p99_s", f"{name}: whole answer, p99", 1.0, "s"),
        ]
    return found


def _tasks(classes: Iterable[str]) -> list[Measure]:
    found = []
    for name in classes:
        found += [
            Measure(f"class.{name}.task_waited_s", f"{name}: waiting per task, mean", 1.0 / SECONDS_PER_MINUTE, "min"),
            Measure(f"class.{name}.task_e2e_p50_s", f"{name}: whole task, p50", 1.0 / SECONDS_PER_MINUTE, "min"),
            Measure(f"class.{name}.task_e2e_p90_s", f"{name}: whole task, p90", 1.0 / SECONDS_PER_MINUTE, "min"),
        ]
    return found


def _over_loads(curves: Curves, case: Case, measures: Iterable[Measure]) -> list[list[Panel]]:
    """A row of panels a measure, one a load; with one load, all measures in one row."""
    rows = [[panel(curves, case, load, measure) for load in curves.loads] for measure in measures]
    return rows if len(curves.loads) > 1 else [[each for row in rows for each in row]]


def _classes(found: Sequence[Row], counted: str = ".requests") -> list[str]:
    """Classes that had traffic (or tasks, where those are counted), in the order of the fleet."""
    names: dict[str, None] = {}
    for row in found:
        for column, value in row.items():
            if column.startswith("class.") and column.endswith(counted) and value:
                names[column.removeprefix("class.").removesuffix(counted)] = None
    return list(names)


def _values(values_of_time: dict[str, float]) -> str:
    said = [f"a second of {escape(name)} is worth {value:g} USD" for name, value in values_of_time.items()]
    return f" ({'; '.join(said)})" if said else ""


def _how_to_read() -> str:
    lines = [
        "A solid line is a policy that was told the share; a dashed one takes no notice of it.",
        "At 0 % the pools of the share are not there, and not paid for.",
        "Capacity paid by the hour is the same at every share above 0: the value of the next percent leaves it out.",
        "Users who get faster answers would ask more, and that is not counted. A session's next turn does come sooner.",
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h3>How to read this</h3><ul>{items}</ul>"


_STYLE = """
.legend{position:sticky;top:0;background:#fff;padding:8px 0;z-index:5;border-bottom:1px solid #e4e7eb;
display:flex;flex-wrap:wrap;gap:6px 18px;font-size:14px}
.chip i{display:inline-block;width:24px;height:0;margin-right:7px;vertical-align:middle}
"""
