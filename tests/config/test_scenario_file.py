"""The scenario file: the smallest one loads, and a zoo of broken ones is answered with every fault, path and remedy."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from headrace.config import load_scenario, parse_scenario
from headrace.config.scenario_demand import lognormal_means
from headrace.config.scenario_file import build_scenario
from headrace.errors import ConfigError
from headrace.fleet.scenario import (
    PowerRule,
    Scenario,
    ShareRule,
    ShareUnit,
    StatedDemand,
    SurvivalRule,
    TraceDemand,
)
from headrace.fleet.terms import ByToken, CapacityContract, Committed, Owned, SpendContract

BASE = """
schema = 1
name = "small"

[horizon]
start = 2026-01-01
years = 2

[models.gpt-oss-120b]

[deployments.h100]
model = "gpt-oss-120b"
accelerator = "H100"
count = 2

[deployments.wafers]
model = "gpt-oss-120b"
accelerator = "WSE-3"
count = 4

[deployments.service]
model = "gpt-oss-120b"
observed = { ttft_s = 0.2, input_tokens_per_s = 10000.0, tpot_s = 0.001 }

[terms.own]
type = "owned"
capex_usd = 30000
life_years = 5
discount_rate = 0.1
electricity_usd_per_kwh = 0.08

[terms.rent]
type = "rented"
usd_per_hour = 1.3
term = "three_years"

[terms.deal]
type = "committed"
contract = "deal"

[terms.api]
type = "per_token"
input_usd_per_mtok = 0.35
output_usd_per_mtok = 0.75
contract = "spend"

[contracts.deal]
type = "capacity"
usd = 1e9
priced_by = "total"
tranches = [{ start = 2026-01-01, mw = 10 }, { start = 2027-01-01, mw = 20 }]
end = 2028-01-01
overhead = 1.3

[contracts.spend]
type = "spend"
steps = [{ min_usd_per_year = 1e6, discount = 0.1 }, { min_usd_per_year = 2e6, discount = 0.2 }]

[candidates.gpu]
deployment = "h100"
terms = ["own", "rent"]
site = "home"
lead_time_days = 90
max_accelerators = 64

[candidates.wafers]
deployment = "wafers"
terms = ["deal"]

[candidates.service]
deployment = "service"
terms = ["api"]
vendor = "Fast"

[classes.chat]
models = ["gpt-oss-120b"]
value_of_time_usd_per_s = 0.0003
slo = { ttft_s = 1.0, tpot_s = 0.05, e2e_s = 30.0 }
degraded = { ttft_s = 3.0 }

[classes.chat.demand]
type = "stated"
requests_per_day = 1e6
buckets = [
  { input_tokens = 500, output_tokens = 100, fraction = 0.5 },
  { input_tokens = 5000, output_tokens = 300, fraction = 0.5 },
]
profile = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
weekend = 0.5

[[constraints]]
type = "share"
name = "a tenth"
of = "compute"
reference = "h100"
candidates = ["wafers", "service"]
at_least = 0.1
reason = "the board wants it"

[[constraints]]
type = "survival"
lose = "any_vendor"
level = 0.8
reason = "nobody may take us down"

[[constraints]]
type = "power"
site = "home"
max_mw = [1, 2]
reason = "the room"
"""


def read(text: str) -> Scenario:
    return build_scenario(tomllib.loads(text), "x")


def faults_of(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return {fault.path: fault.message for fault in refused.value.faults}


def changed(*pairs: tuple[str, str]) -> str:
    text = BASE
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def test_a_whole_scenario_as_objects() -> None:
    scenario = read(BASE)
    own, _, wafers, service = scenario.offers
    assert [offer.name for offer in scenario.offers] == ["gpu.own", "gpu.rent", "wafers", "service"]
    assert isinstance(own.terms, Owned)
    assert own.available_from == date(2026, 4, 1)
    assert (own.vendor, own.silicon, own.site) == ("NVIDIA", "H100", "home")
    assert wafers.terms == Committed("deal")
    assert wafers.site == "deal"
    assert isinstance(service.terms, ByToken)
    assert (service.vendor, service.silicon, service.site) == ("Fast", "Fast", "Fast")
    assert isinstance(scenario.contracts["deal"], CapacityContract)
    assert isinstance(scenario.contracts["spend"], SpendContract)
    share, survival, power = scenario.rules
    assert isinstance(share, ShareRule)
    assert (share.of, share.at_least, share.reason) == (ShareUnit.COMPUTE, 0.1, "the board wants it")
    assert [offer.name for offer in scenario.offers if share.selection.holds(offer)] == ["wafers", "service"]
    assert isinstance(survival, SurvivalRule)
    assert survival.level == {"chat": 0.8}
    assert isinstance(power, PowerRule)
    assert power.max_w == (1e6, 2e6)
    assert scenario.horizon.end == date(2028, 1, 1)


def test_a_days_profile_and_its_weekend_make_a_week() -> None:
    demand = read(BASE).classes[0].demand
    assert isinstance(demand, StatedDemand)
    assert len(demand.profile) == 168
    assert demand.profile[12] == 2.0
    assert demand.profile[5 * 24 + 12] == 1.0


def test_the_command_line_replaces_the_shape_and_keeps_the_rate() -> None:
    scenario = build_scenario(tomllib.loads(BASE), "x", traces={"chat": "day.csv"})
    assert scenario.classes[0].demand == TraceDemand("day.csv", (5, 5), 1e6)
    with pytest.raises(ConfigError, match="no class 'chta'; did you mean 'chat'"):
        build_scenario(tomllib.loads(BASE), "x", traces={"chta": "day.csv"})


@pytest.mark.parametrize(("sigma", "buckets"), [(0.0, 3), (0.9, 5), (2.0, 7)])
def test_buckets_of_a_log_normal_law_keep_its_mean(sigma: float, buckets: int) -> None:
    means = lognormal_means(1000.0, sigma, buckets)
    assert sum(means) / buckets == pytest.approx(1000.0 * 2.718281828 ** (sigma**2 / 2))
    assert list(means) == sorted(means)


def test_a_syntax_error_is_answered_with_line_and_column() -> None:
    with pytest.raises(ConfigError, match=r"x: 1 fault\n  syntax: not valid TOML: .*\(at line 3, column 9\)"):
        parse_scenario('schema = 1\n[horizon]\nyears = = 2\nname = "x\n', "x")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_scenario(tmp_path / "no.toml")


def test_a_scenario_may_extend_another(tmp_path: Path) -> None:
    """Tables are merged, everything else is replaced; a circle is refused."""
    (tmp_path / "base.toml").write_text(BASE)
    other = 'extends = "base.toml"\nname = "dearer"\n[contracts.deal]\nusd = 2e9\n[classes.chat]\ngrowth_per_year = 1\n'
    (tmp_path / "other.toml").write_text(other)
    found, base = load_scenario(tmp_path / "other.toml"), read(BASE)
    assert found.name == "dearer"
    assert found.contracts["deal"] == replace(base.contracts["deal"], usd=2e9)
    assert found.classes == (replace(base.classes[0], growth_per_year=1.0),)
    assert found.offers == base.offers
    (tmp_path / "base.toml").write_text('extends = "other.toml"\n')
    with pytest.raises(ConfigError, match="extends this file in turn"):
        load_scenario(tmp_path / "other.toml")


def test_an_empty_file_lacks_everything_at_once() -> None:
    assert set(faults_of("")) == {"schema", "horizon", "classes", "candidates", "terms"}


# Each row: what is changed, and the faults that must be found: path -> words of the message.
ZOO: dict[str, tuple[list[tuple[str, str]], dict[str, str]]] = {
    "unknown section": ([("schema = 1", "schema = 1\nhorizn = 1")], {"horizn": "did you mean 'horizon'"}),
    "unknown setting": ([("count = 2", "count = 2\nmax_bach = 3")], {"deployments.h100.max_bach": "'max_batch'"}),
    "old schema": ([("schema = 1", "schema = 2")], {"schema": "this version reads schema = 1"}),
    "wrong type": ([("years = 2", 'years = "two"')], {"horizon.years": "expected `int`, got `str`"}),
    "no reason": ([('reason = "the room"', "")], {"constraints[2].reason": "missing"}),
    "no unit of the share": ([('of = "compute"\n', "")], {"constraints[0].of": "missing"}),
    "unknown unit": ([('of = "compute"', 'of = "tokens"')], {"constraints[0].of": "invalid enum value 'tokens'"}),
    "compute of what": ([('reference = "h100"\n', "")], {"constraints[0].reference": "seconds of it"}),
    "unknown reference": (
        [('reference = "h100"', 'reference = "h200"')],
        {"constraints[0].reference": "did you mean 'h100'"},
    ),
    "nothing between": ([("at_least = 0.1", "at_least = 0.3\nat_most = 0.2")], {"constraints[0].at_least": "between"}),
    "no bound": ([("at_least = 0.1\n", "")], {"constraints[0]": "at_least, at_most or both"}),
    "more than everything": ([("at_least = 0.1", "at_least = 10")], {"constraints[0].at_least": "<= 1"}),
    "a share of all": (
        [('candidates = ["wafers", "service"]', 'candidates = ["gpu", "wafers", "service"]')],
        {"constraints[0]": "something outside it"},
    ),
    "two shares of more than all": (
        [
            (
                "[[constraints]]",
                '[[constraints]]\ntype = "share"\nname = "rest"\nof = "compute"\nreference = "h100"\n'
                'vendors = ["NVIDIA"]\nat_least = 0.95\nreason = "policy"\n\n[[constraints]]',
            )
        ],
        {"constraints[1].at_least": "asks for 1.05 of all compute"},
    ),
    "unknown candidate": (
        [('candidates = ["wafers", "service"]', 'candidates = ["wafer", "service"]')],
        {"constraints[0].candidates[0]": "did you mean 'wafers'"},
    ),
    "unknown deployment": (
        [('deployment = "wafers"', 'deployment = "waver"')],
        {"candidates.wafers.deployment": "did you mean 'wafers'"},
    ),
    "unknown terms": ([('terms = ["deal"]', 'terms = ["dael"]')], {"candidates.wafers.terms[0]": "'deal'"}),
    "unknown contract": ([('contract = "deal"', 'contract = "other"')], {"candidates.wafers.terms": "no contract"}),
    "capacity under a spend contract": (
        [('contract = "deal"', 'contract = "spend"')],
        {"candidates.wafers.terms": "is for spend", "contracts.deal": "use it"},
    ),
    "unused contract": ([('contract = "spend"\n', "")], {"contracts.spend": "use it, or remove it"}),
    "owned without a site": ([('site = "home"\nlead', "lead")], {"candidates.gpu.site": "name the site"}),
    "service without a vendor": ([('vendor = "Fast"\n', "")], {"candidates.service.vendor": "say whose it is"}),
    "too few for one replica": (
        [("max_accelerators = 64", "max_accelerators = 1")],
        {"candidates.gpu.max_accelerators": "do not hold one replica of 2"},
    ),
    "two dates": (
        [("lead_time_days = 90", "lead_time_days = 90\navailable_from = 2026-05-01")],
        {"candidates.gpu.lead_time_days": "keep one of them"},
    ),
    "too late": ([("lead_time_days = 90", "available_from = 2030-01-01")], {"candidates.gpu.available_from": "ends"}),
    "capacity of a service": (
        [('deployment = "service"\nterms = ["api"]', 'deployment = "service"\nterms = ["rent"]')],
        {"candidates.service.terms": "counted in accelerators", "contracts.spend": "use it"},
    ),
    "spot that is never taken away": (
        [('term = "three_years"', 'term = "spot"')],
        {"terms.rent.interruptions_per_hour": "say how often"},
    ),
    "interruptions of a lease": (
        [('term = "three_years"', 'term = "three_years"\nrecover_s = 60')],
        {"terms.rent": 'of term = "spot" only'},
    ),
    "no such term": ([('term = "three_years"', 'term = "forever"')], {"terms.rent.term": "invalid enum value"}),
    "terms of no type": ([('type = "owned"\n', "")], {"terms.own.type": "write one of 'owned', 'rented'"}),
    "negative price": ([("usd_per_hour = 1.3", "usd_per_hour = -1.3")], {"terms.rent.usd_per_hour": ">= 0"}),
    "price that is no number": ([("usd_per_hour = 1.3", "usd_per_hour = nan")], {"terms.rent.usd_per_hour": "finite"}),
    "tranche after the end": (
        [("end = 2028-01-01", "end = 2027-01-01")],
        {"contracts.deal.tranches[1].start": "is not before end"},
    ),
    "tranche of nothing": (
        [("{ start = 2026-01-01, mw = 10 }", "{ start = 2026-01-01 }")],
        {"contracts.deal.tranches[0]": "either mw or accelerators"},
    ),
    "tranches outside the horizon": (
        [("start = 2026-01-01\nyears = 2", "start = 2030-01-01\nyears = 2")],
        {"contracts.deal.tranches": "nothing comes live within the horizon"},
    ),
    "steps that give less": (
        [("min_usd_per_year = 2e6, discount = 0.2", "min_usd_per_year = 2e6, discount = 0.05")],
        {"contracts.spend.steps[1]": "ask for more and give more"},
    ),
    "fractions of nine tenths": (
        [("output_tokens = 300, fraction = 0.5", "output_tokens = 300, fraction = 0.4")],
        {"classes.chat.demand.buckets": "add up to 0.9"},
    ),
    "a day of 25 hours": (
        [("profile = [1,", "profile = [1, 1,")],
        {"classes.chat.demand.profile": "has 25 hours; give 1, 24 (a day) or 168"},
    ),
    "a context that nothing holds": (
        [("input_tokens = 5000", "input_tokens = 500000")],
        {"classes.chat.demand.buckets[1]": "exceed the longest context among its models, 131,072"},
    ),
    "a model that nobody serves": (
        [('[classes.chat]\nmodels = ["gpt-oss-120b"]', '[classes.chat]\nmodels = ["gpt-oss-12b"]')],
        {"classes.chat.models[0]": "did you mean 'gpt-oss-120b'"},
    ),
    "stricter when degraded": (
        [("degraded = { ttft_s = 3.0 }", "degraded = { ttft_s = 0.5 }")],
        {"classes.chat.degraded.ttft_s": "is stricter than slo.ttft_s = 1"},
    ),
    "a model that does not fit": (
        [('accelerator = "WSE-3"\ncount = 4', 'accelerator = "WSE-3"\ncount = 1')],
        {"deployments.wafers.count": "would hold it with one full context"},
    ),
    "one vendor only": (
        [
            (
                '[candidates.wafers]\ndeployment = "wafers"',
                '[candidates.wafers]\nvendor = "NVIDIA"\ndeployment = "wafers"',
            ),
            ('vendor = "Fast"', 'vendor = "NVIDIA"'),
        ],
        {"constraints[1].lose": "there is one vendor only"},
    ),
    "power for the wrong years": (
        [("max_mw = [1, 2]", "max_mw = [1, 2, 3]")],
        {"constraints[2].max_mw": "give one, or one for each year"},
    ),
    "unknown site": ([('site = "home"\nmax_mw', 'site = "hoem"\nmax_mw')], {"constraints[2].site": "'home'"}),
    "a stage that divides no year": ([("years = 2", "years = 2\nstage_months = 5")], {"horizon.stage_months": "12"}),
    "an interval that is upside down": (
        [("[models", "[uncertainty]\ndemand = { low = 2, high = 1 }\n[models")],
        {"uncertainty.demand.low": "is more than high"},
    ),
    "a trace without a path": (
        [
            (
                BASE[BASE.index("[classes.chat.demand]") : BASE.index("[[constraints]]")],
                '[classes.chat.demand]\ntype = "trace"\nbuckets = [5, 5]\n',
            )
        ],
        {"classes.chat.demand.path": "--demand CLASS=PATH"},
    ),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_broken_scenario_is_answered_with_path_and_remedy(name: str) -> None:
    """Exactly the faults that are there: one mistake is reported once, whatever hangs on it."""
    changes, expected = ZOO[name]
    found = faults_of(changed(*changes))
    assert set(found) == set(expected), found
    for path, words in expected.items():
        assert words in found[path]


def test_all_faults_at_once() -> None:
    """Faults in sections that have nothing to do with each other are found in one go."""
    picks = ["wrong type", "no unit of the share", "negative price", "a day of 25 hours", "unknown deployment"]
    changes = [change for name in picks for change in ZOO[name][0]]
    found = faults_of(changed(*changes))
    assert set(found) == {path for name in picks for path in ZOO[name][1]}


@pytest.mark.parametrize("section", ["classes", "candidates", "terms", "contracts", "deployments", "constraints"])
@pytest.mark.parametrize("value", [3, "text", [1], {"x": 3}, {"x": {"type": []}}, [{"type": "share", "of": 3}]])
def test_nonsense_of_any_type_is_a_fault_and_no_crash(section: str, value: Any) -> None:
    raw = {**tomllib.loads(BASE), section: value}
    with pytest.raises(ConfigError):
        build_scenario(raw, "x")
