"""Commitments and budgets: their prices converge on the pace, a hard budget holds, and a journal runs again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE, Chaos, small_fleet

from headrace import rng
from headrace.config import parse_fleet
from headrace.cost import marginal_cost, spend_rate
from headrace.errors import ConfigError
from headrace.fleet import Budget, Commitment, CommittedUnit, Fleet, Per, ShareUnit
from headrace.metrics import AttemptRecord, PolicyReport, RequestRecord, encode_report
from headrace.modelserver import model_server
from headrace.perf import speed_curve
from headrace.policy import (
    FAST_ONLY,
    GPU_ONLY,
    POLICIES,
    PRICES,
    AnyAction,
    AnyEvent,
    Arrived,
    Dispatch,
    EngineView,
    LimitView,
    PeriodResumed,
    Policy,
    PolicyEngine,
    Reject,
    RejectReason,
)
from headrace.policy.journal import decode_entries, first_difference
from headrace.policy.pace import CATCH_UP, Pace
from headrace.sim import SimulatedBackend, SimulationDriver, simulate
from headrace.study.compare import run_facts
from headrace.workload import ClassTraffic, LogNormalMixture, Poisson, Request, SingleRequests, generate

TWO_POOLS = """
schema = 1
[models.gpt-oss-120b]
[deployments.slow]
model = "gpt-oss-120b"
observed = { ttft_s = 0.25, input_tokens_per_s = 15000.0, tpot_s = 0.015, batch = 32 }
[deployments.fast]
model = "gpt-oss-120b"
observed = { ttft_s = 0.2, input_tokens_per_s = 10000.0, tpot_s = 0.001 }
[pools.slow]
deployment = "slow"
price = { type = "per_token", input_usd_per_mtok = 0.09, output_usd_per_mtok = 0.36 }
backends = [{ name = "slow-1", url = "http://10.0.0.1:8000", max_in_flight = 100000 }]
[pools.fast]
deployment = "fast"
price = { type = "per_token", input_usd_per_mtok = 0.35, output_usd_per_mtok = 0.75 }
backends = [{ name = "fast-1", url = "http://10.0.0.2:8000", max_in_flight = 100000 }]
[classes.chat]
value_of_time_usd_per_s = VALUE
[classes.batch]
value_of_time_usd_per_s = 0.0
[[routes]]
pools = ["slow", "fast"]
"""
TRAFFIC = SingleRequests(
    Poisson(10.0),
    LogNormalMixture(((1.0, 7.0, 0.8),), low=10, high=30_000),
    LogNormalMixture(((1.0, 5.3, 0.6),), low=5, high=3000),
)
HOUR = Per.HOUR.seconds
THRIFTY, HURRIED = 0.00005, 0.001  # USD/s: at the one hardly anybody would pay for the fast pool, at the other most


def two_pools(value: float, *limits: Commitment | Budget) -> Fleet:
    """A cheap slow service and a dear fast one."""
    fleet = parse_fleet(TWO_POOLS.replace("VALUE", str(value)), "test")
    commitments = {each.name: each for each in limits if isinstance(each, Commitment)}
    return replace(
        fleet, commitments=commitments, budgets={each.name: each for each in limits if isinstance(each, Budget)}
    )


@dataclass
class Run:
    """What was seen at every event, and what was used."""

    fleet: Fleet
    views: list[EngineView] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)

    def spent_usd(self, pool: str, from_s: float = 0.0, to_s: float = HOUR) -> float:
        rate = spend_rate(self.fleet.pools[pool])
        found = (each for each in self.attempts if each.pool == pool and from_s <= each.dispatch_s < to_s)
        return sum(rate.work(each.input_tokens, each.output_tokens) for each in found)

    def limits(self, from_s: float = 0.0) -> list[LimitView]:
        return [view.limits[0] for view in self.views if view.now_s >= from_s]

    def lambdas(self, from_s: float = 0.0) -> list[float]:
        return [each.lambda_usd_per_unit for each in self.limits(from_s)]


def run(fleet: Fleet, requests: Iterator[Request], policy: Policy = PRICES) -> Run:
    engine, found = PolicyEngine(fleet, rng.stream(0, "policy"), policy), Run(fleet)
    backends = []
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        backends += [
            SimulatedBackend(b.name, pool.name, model_server(curve), marginal_cost(pool, curve)) for b in pool.backends
        ]

    def watch(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if now_s >= 10.0 * len(found.views):
            found.views.append(engine.view())

    pools = tuple(fleet.pools)
    SimulationDriver(
        engine, backends, found.requests.append, found.attempts.append, lambda request, at_s: (pools, ()), None, watch
    ).run(requests)
    return found


def traffic(seconds: float, seed: int = 0, name: str = "chat") -> Iterator[Request]:
    return generate([ClassTraffic(name, TRAFFIC)], seconds, seed)


@pytest.fixture(scope="module")
def thrifty() -> float:
    """USD that an hour of traffic spends on the fast pool where waiting is worth little."""
    return run(two_pools(THRIFTY), traffic(HOUR)).spent_usd("fast")


@pytest.fixture(scope="module")
def hurried() -> float:
    """USD that an hour of traffic spends on the fast pool where waiting is worth much."""
    return run(two_pools(HURRIED), traffic(HOUR)).spent_usd("fast")


# Commitments


@pytest.mark.parametrize("start", [0.0, -1.0])
def test_a_commitment_is_used_up_within_two_percent_where_demand_suffices(thrifty: float, start: float) -> None:
    usd = 4.0
    assert thrifty < 0.2 * usd, "without a price hardly anybody goes there"
    commitment = Commitment("fast", ("fast",), usd, CommittedUnit.USD, Per.HOUR, starting_price_usd=start)
    found = run(two_pools(THRIFTY, commitment), traffic(HOUR))
    assert found.spent_usd("fast") == pytest.approx(usd, rel=0.02)
    assert found.spent_usd("fast", to_s=HOUR / 2) == pytest.approx(usd / 2, rel=0.1), "and evenly"
    settled = found.lambdas(600.0)
    assert -1.0 <= min(settled) <= max(settled) < 0.0
    assert max(settled) - min(settled) < 0.4


def test_a_commitment_that_is_used_anyway_has_no_price(hurried: float) -> None:
    commitment = Commitment("fast", ("fast",), 0.5 * hurried, CommittedUnit.USD, Per.HOUR)
    found = run(two_pools(HURRIED, commitment), traffic(900.0))
    assert min(found.lambdas(120.0)) > -0.02, "no more than one request's step"
    free = run(two_pools(HURRIED), traffic(900.0))
    assert found.spent_usd("fast") == pytest.approx(free.spent_usd("fast"), rel=0.002)


@pytest.mark.parametrize("unit", [CommittedUnit.TOKENS, CommittedUnit.ACCELERATOR_HOURS])
def test_a_commitment_in_tokens_or_hours_draws_traffic_too(thrifty: float, unit: CommittedUnit) -> None:
    amount = {CommittedUnit.TOKENS: 5e6, CommittedUnit.ACCELERATOR_HOURS: 0.3}[unit]
    found = run(two_pools(THRIFTY, Commitment("fast", ("fast",), amount, unit, Per.HOUR)), traffic(HOUR))
    last = [view.limits[0] for view in found.views if view.now_s < HOUR][-1]
    assert last.use == pytest.approx(last.pace, rel=0.03)
    assert last.pace == pytest.approx(amount, rel=0.01)
    assert found.spent_usd("fast") > 2.0 * thrifty


def test_a_commitment_beyond_all_demand_is_no_worse_than_a_free_pool() -> None:
    commitment = Commitment("fast", ("fast",), 1e6, CommittedUnit.USD, Per.HOUR)
    found = run(two_pools(THRIFTY, commitment), traffic(300.0))
    assert found.lambdas()[-1] == pytest.approx(-1.0)
    assert {each.pool for each in found.attempts if each.dispatch_s > 120.0} == {"fast"}


# Budgets


def test_a_budget_is_kept_by_its_price(hurried: float) -> None:
    usd = 0.4 * hurried
    found = run(two_pools(HURRIED, Budget("fast", usd, Per.HOUR, pools=("fast",))), traffic(HOUR))
    assert found.spent_usd("fast") == pytest.approx(usd, rel=0.02)
    settled = found.lambdas(900.0)
    assert min(settled) > 0.0
    assert max(settled) < 3.0 * min(settled)
    assert all(each.outcome == "completed" for each in found.requests), "a price turns nobody away"


def test_a_budget_that_is_not_needed_has_no_price(hurried: float) -> None:
    found = run(two_pools(HURRIED, Budget("fast", 3.0 * hurried, Per.HOUR, pools=("fast",))), traffic(900.0))
    assert max(found.lambdas(120.0)) < 0.02, "no more than one request's step"


def test_a_price_goes_on_over_the_end_of_a_period(hurried: float) -> None:
    usd = 0.4 * hurried / 6
    budget = Budget("fast", usd, Per.HOUR, pools=("fast",))
    found = run(two_pools(HURRIED, budget), (replace(r, arrival_s=6 * r.arrival_s) for r in traffic(HOUR)))
    for hour in (1, 2, 3, 4, 5):
        assert found.spent_usd("fast", hour * HOUR, (hour + 1) * HOUR) == pytest.approx(usd, rel=0.06)


@pytest.mark.parametrize("policy", [PRICES, GPU_ONLY, POLICIES["fastest"], POLICIES["round_robin"]])
def test_a_hard_budget_is_never_exceeded_by_more_than_what_is_in_flight(hurried: float, policy: Policy) -> None:
    usd = 0.1 * hurried
    fleet = two_pools(HURRIED, Budget("chat", usd, Per.HOUR, classes=("chat",), hard=True))
    found = run(fleet, traffic(900.0), policy)
    spent = found.spent_usd("fast") + found.spent_usd("slow")
    assert spent <= usd + most_in_flight_usd(found)
    if spent >= 0.95 * usd:
        assert any(each.outcome == "rejected" for each in found.requests)
    else:
        assert policy is PRICES, "only a price spends less than there is"


def most_in_flight_usd(found: Run) -> float:
    rates = {name: spend_rate(pool) for name, pool in found.fleet.pools.items()}
    changes = []
    for each in found.attempts:
        usd = rates[each.pool].work(each.input_tokens, each.output_tokens)
        changes += [(each.dispatch_s, 0, usd), (each.end_s, 1, -usd)]
    held = most = 0.0
    for _, _, usd in sorted(changes):
        held += usd
        most = max(most, held)
    return most


def test_what_a_hard_budget_refuses_on_one_pool_goes_to_another(hurried: float) -> None:
    fleet = two_pools(HURRIED, Budget("fast", 0.02 * hurried, Per.HOUR, pools=("fast",), hard=True))
    found = run(fleet, traffic(600.0), POLICIES["fastest"])
    assert {each.pool for each in found.attempts if each.dispatch_s > 300.0} == {"slow"}
    assert all(each.outcome == "completed" for each in found.requests)


def test_a_class_whose_budget_is_spent_is_refused_until_its_period_ends_and_others_are_not() -> None:
    fleet = two_pools(HURRIED, Budget("batch", 1e-9, Per.HOUR, classes=("batch",), hard=True))
    engine = PolicyEngine(fleet, rng.stream(0, ""))
    (refused, _) = engine.handle(600.0, Arrived(1, "batch", 1000))
    assert refused == Reject(1, RejectReason.BUDGET_SPENT, 3000.0)
    (sent, *_) = engine.handle(600.0, Arrived(2, "chat", 1000))
    assert isinstance(sent, Dispatch)


def test_who_waits_for_a_free_backend_is_refused_once_the_budget_is_spent() -> None:
    fleet = small_fleet(1)
    fleet = replace(fleet, budgets={"b": Budget("b", 1e-3, Per.HOUR, hard=True)})
    chaos = Chaos(0, 1, fleet=fleet)
    for _ in range(400):
        chaos.step()
    (limit,) = chaos.engine.view().limits
    assert limit.use <= 1e-3 + 1e-3


# A period that began before the engine did


def test_an_engine_goes_on_in_the_middle_of_a_period() -> None:
    fleet = two_pools(HURRIED, Budget("chat", 1.0, Per.HOUR, hard=True))
    engine = PolicyEngine(fleet, rng.stream(0, ""))
    assert engine.handle(0.0, PeriodResumed("budgets.chat", 1800.0, 0.7)) == []
    (limit,) = engine.view().limits
    assert (limit.use, limit.pace) == (0.7, 0.5)
    engine.handle(0.0, PeriodResumed("budgets.chat", 1800.0, 1.0))
    assert isinstance(engine.handle(1.0, Arrived(1, "chat", 100))[0], Reject)
    assert isinstance(engine.handle(1801.0, Arrived(2, "chat", 100))[0], Dispatch), "the next period has begun"


def test_before_its_first_day_a_commitment_draws_nothing_and_counts_nothing() -> None:
    commitment = Commitment("fast", ("fast",), 1.0, CommittedUnit.USD, Per.HOUR)
    engine = PolicyEngine(two_pools(THRIFTY, commitment), rng.stream(0, ""))
    engine.handle(0.0, PeriodResumed("commitments.fast", -100.0))
    engine.handle(50.0, Arrived(1, "chat", 1000))
    (limit,) = engine.view().limits
    assert (limit.use, limit.lambda_usd_per_unit, limit.pace) == (0.0, 0.0, 0.0)
    engine.handle(160.0, Arrived(2, "chat", 1000))
    assert engine.view().limits[0].lambda_usd_per_unit < 0.0


@given(st.lists(st.tuples(st.floats(0.0, 2000.0), st.floats(0.0, 0.3)), max_size=40))
def test_a_pace_is_never_negative_never_beyond_its_bound_and_what_is_booked_is_used(
    steps: list[tuple[float, float]],
) -> None:
    pace, now_s = Pace(1.0, 3600.0), 0.0
    for attempt_id, (seconds, use) in enumerate(steps):
        hour = now_s // 3600.0
        now_s += seconds
        before = pace.used if now_s // 3600.0 == hour else 0.0
        due = pace.passed(now_s)
        assert 0.0 <= due <= CATCH_UP * seconds / 3600.0 + 1e-12
        assert pace.used == before
        pace.book(attempt_id, use)
        assert pace.settle(attempt_id, 2.0 * use) == pytest.approx(use)
        assert pace.used == pytest.approx(before + 2.0 * use)


# Laws, shown, refused


def limited(fleet: Fleet) -> Fleet:
    commitments = {
        "groq": Commitment("groq", ("groq", "cerebras"), 1.0, CommittedUnit.USD, Per.HOUR),
        "h100": Commitment("h100", ("h100",), 5.0, CommittedUnit.ACCELERATOR_HOURS, Per.HOUR),
    }
    budgets = {
        "chat": Budget("chat", 0.003, Per.HOUR, classes=("chat",), hard=True),
        "fast": Budget("fast", 0.01, Per.HOUR, pools=("groq", "cerebras")),
    }
    return replace(fleet, commitments=commitments, budgets=budgets)


def counted_in_usd(fleet: Fleet) -> Fleet:
    shares = {name: replace(each, of=ShareUnit.SPEND, reference=None) for name, each in fleet.shares.items()}
    return replace(fleet, shares=shares)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), max_in_flight=st.integers(1, 3), policy=st.sampled_from((PRICES, FAST_ONLY)))
def test_with_commitments_and_budgets_no_law_is_broken_and_a_journal_runs_again(
    seed: int, max_in_flight: int, policy: Policy
) -> None:
    fleet = counted_in_usd(limited(small_fleet(max_in_flight)))
    chaos = Chaos(seed, max_in_flight, policy, fleet=fleet)
    chaos.send(PeriodResumed("budgets.fast", 1800.0, 0.001))
    for _ in range(150):
        chaos.step()
    fresh = PolicyEngine(fleet, rng.stream(seed, "policy"), policy)
    assert first_difference(fresh, decode_entries(chaos.journal)) == (len(chaos.journal), None)


def test_prices_start_where_the_fleet_file_says_and_only_prices_keep_more_than_hard_budgets() -> None:
    def lambdas(fleet: Fleet, policy: Policy = PRICES) -> dict[str, float]:
        view = PolicyEngine(fleet, rng.stream(0, ""), policy).view()
        found = {limit.name: limit.lambda_usd_per_unit for limit in view.limits}
        return found | {share.name: share.lambda_usd_per_unit for share in view.shares}

    fleet = limited(SAMPLE)
    chat = fleet.classes["chat"]
    fleet = replace(
        fleet,
        commitments={k: replace(each, starting_price_usd=-0.3) for k, each in fleet.commitments.items()},
        budgets={k: replace(each, starting_price_usd=0.4) for k, each in fleet.budgets.items()},
        shares={k: replace(each, starting_price_usd=0.01) for k, each in fleet.shares.items()},
        pools=fleet.pools | {"h100": replace(fleet.pools["h100"], max_kv_fraction=0.9, kv_starting_price_usd=1e-9)},
        classes=fleet.classes | {"chat": replace(chat, slo=replace(chat.slo, priced=True, starting_price_usd=0.02))},
    )
    assert lambdas(fleet) == {
        "pools.h100.max_kv_fraction": 1e-9,
        "classes.chat.slo": 0.02,
        "commitments.groq": -0.3,
        "commitments.h100": -0.3,
        "budgets.chat": 0.4,
        "budgets.fast": 0.4,
        "fast": 0.01,
        "alternative": 0.0,
    }
    assert lambdas(fleet, GPU_ONLY) == {"budgets.chat": 0.0, "fast": 0.0, "alternative": 0.0}


COMMITTED = '[commitments.c]\npools = ["fast"]\nper = "hour"\n'


@pytest.mark.parametrize(
    ("table", "path"),
    [
        (COMMITTED, "commitments.c"),
        (COMMITTED + "usd = 1.0\ntokens = 5.0", "commitments.c"),
        (COMMITTED + "usd = 1.0\nstarting_price_usd = 0.5", "commitments.c.starting_price_usd"),
        ('[commitments.c]\npools = ["fats"]\nper = "hour"\nusd = 1.0', "commitments.c.pools[0]"),
        ('[commitments.c]\npools = []\nper = "hour"\nusd = 1.0', "commitments.c.pools"),
        ('[commitments.c]\npools = ["fast"]\nper = "week"\nusd = 1.0', "commitments.c.per"),
        ('[commitments.c]\npools = ["fast"]\nper = "day"\nusd = 1.0\nfrom = "soon"', "commitments.c.from"),
        ('[budgets.b]\nusd = 0.0\nper = "hour"', "budgets.b.usd"),
        ('[budgets.b]\nusd = 1.0\nper = "hour"\nclasses = ["chta"]', "budgets.b.classes[0]"),
        ('[budgets.b]\nusd = 1.0\nper = "hour"\nstarting_price_usd = -1.0', "budgets.b.starting_price_usd"),
        ('[shares.s]\npools = ["fast"]\ntarget = 0.1\nof = "power"', "pools.slow.assumed_w"),
    ],
)
def test_what_cannot_be_kept_is_a_fault(table: str, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_fleet(TWO_POOLS.replace("VALUE", "0.001") + table, "test")
    assert path in [fault.path for fault in raised.value.faults]
    assert len(raised.value.faults) <= 2


def test_a_report_says_what_was_used_and_one_without_limits_says_nothing_of_them() -> None:
    fleet = two_pools(
        HURRIED, Commitment("c", ("fast",), 9.0, CommittedUnit.TOKENS, Per.HOUR), Budget("b", 5.0, Per.HOUR)
    )
    result = simulate(fleet, traffic(60.0))
    report = result.metrics.finish(run_facts(fleet, result, "simulate", 0, PolicyReport()))
    fast, slow = result.metrics.pools["fast"], result.metrics.pools["slow"]
    (tokens,) = report.commitments["c"].used
    assert tokens == fast.input_tokens + fast.output_tokens
    (usd,) = report.budgets["b"].used
    assert usd == pytest.approx(fast.cost_usd + slow.cost_usd)
    assert report.budgets["b"].pace == pytest.approx(usd / (5.0 * result.last_arrival_s / HOUR))
    bare = two_pools(HURRIED)
    result = simulate(bare, traffic(5.0))
    text = encode_report(result.metrics.finish(run_facts(bare, result, "simulate", 0, PolicyReport())))
    assert b"commitments" not in text
    assert b"budgets" not in text
