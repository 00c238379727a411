"""From `[[constraints]]` to the rules of `fleet.scenario`; names of other things are checked with the whole."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.config import scenario_tables as tables
from headrace.config.faults import Faults
from headrace.fleet import Deployment
from headrace.fleet.catalog import close_matches
from headrace.fleet.scenario import (
    BudgetRule,
    ConcentrationRule,
    PowerRule,
    ResidencyRule,
    Rule,
    Selection,
    ShareRule,
    ShareUnit,
    SurvivalRule,
)
from headrace.units import WATTS_PER_MW

BY_PLAN = (ShareUnit.POWER, ShareUnit.SPEND)


def rules(
    raw: object, deployments: Mapping[str, Deployment | None], classes: tuple[str, ...], faults: Faults
) -> list[tuple[str, Rule]]:
    """Every constraint that could be built, with its path."""
    if not isinstance(raw, list):
        faults.add("constraints", "expected an array of tables [[constraints]]")
        return []
    found: list[tuple[str, Rule]] = []
    for index, item in enumerate(raw):
        path = f"constraints[{index}]"
        table = faults.tagged(item, tables.RULES, path)
        rule = None if table is None else _rule(table, path, deployments, classes, faults)
        if rule is not None:
            found.append((path, rule))
    return found


def _rule(
    table: object,
    path: str,
    deployments: Mapping[str, Deployment | None],
    classes: tuple[str, ...],
    faults: Faults,
) -> Rule | None:
    assert isinstance(table, tables.RuleTable)
    name, reason = table.name or path, table.reason
    match table:
        case tables.ShareRuleTable():
            return _share(table, name, path, deployments, faults)
        case tables.PowerRuleTable():
            figures = table.max_mw if isinstance(table.max_mw, tuple) else (table.max_mw,)
            return PowerRule(name, reason, tuple(mw * WATTS_PER_MW for mw in figures), table.site)
        case tables.ConcentrationRuleTable():
            return _concentration(table, name, path, faults)
        case tables.SurvivalRuleTable():
            level = table.level if isinstance(table.level, dict) else dict.fromkeys(classes, table.level)
            return SurvivalRule(name, reason, table.lose, level, table.who, table.utilization)
        case tables.ResidencyRuleTable():
            return ResidencyRule(name, reason, table.classes, table.sites)
        case tables.BudgetRuleTable():
            return BudgetRule(name, reason, table.max_usd, table.year)
    return None


def _share(
    table: tables.ShareRuleTable,
    name: str,
    path: str,
    deployments: Mapping[str, Deployment | None],
    faults: Faults,
) -> ShareRule:
    low, high = table.at_least, table.at_most
    if low is None and high is None:
        faults.add(path, "bounds nothing; give at_least, at_most or both")
    if low is not None and high is not None and low > high:
        faults.add(f"{path}.at_least", f"{low:g} is more than at_most = {high:g}; nothing lies between them")
    if (table.of is ShareUnit.COMPUTE) != (table.reference is not None):
        compute = table.of is ShareUnit.COMPUTE
        said = (
            "missing; compute is measured in seconds of it" if compute else 'only meant for of = "compute"; remove it'
        )
        faults.add(f"{path}.reference", said)
    if table.reference is not None and table.reference not in deployments:
        advice = close_matches(table.reference, deployments)
        faults.add(f"{path}.reference", f"no deployment {table.reference!r}; {advice}")
    chosen = Selection(table.candidates, table.vendors, table.silicon, table.sites)
    reference = deployments.get(table.reference or "")
    return ShareRule(name, table.reason, table.of, chosen, low, high, reference, table.year)


def _concentration(table: tables.ConcentrationRuleTable, name: str, path: str, faults: Faults) -> ConcentrationRule:
    if table.of not in BY_PLAN:
        faults.add(f"{path}.of", f"{table.of.value!r} is counted by a share; write 'power' or 'spend'")
    return ConcentrationRule(name, table.reason, table.of, table.at_most, table.vendor)
