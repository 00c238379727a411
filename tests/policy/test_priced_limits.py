"""Limits kept by prices: they converge on a workload, fall where there is slack, and cost nothing where none is set."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE, Chaos, small_fleet

from headrace import rng
from headrace.config import parse_fleet, sample_fleet_text
from headrace.config.build import build_fleet
from headrace.cost import marginal_cost
from headrace.errors import ConfigError
from headrace.fleet import Fleet
from headrace.metrics import RequestRecord
from headrace.modelserver import model_server
from headrace.perf import speed_curve
from headrace.policy import GPU_ONLY, STATIC, AnyAction, AnyEvent, EngineView, PolicyEngine
from headrace.policy.backend_states import backend_states
from headrace.policy.breaker import Probe
from headrace.policy.journal import decode_entries, first_difference
from headrace.policy.kv_price import HIGHEST, RISE_S, KvPrice
from headrace.policy.routing import Candidates
from headrace.policy.slo_price import SloPrice
from headrace.policy.state import AttemptState, RequestState
from headrace.sim import SimulatedBackend, SimulationDriver
from headrace.workload import ClassTraffic, LogNormalMixture, Poisson, Request, SingleRequests, Slo, generate

TTFT_S = 0.6
TWO_POOLS = """
schema = 1
[models.gpt-oss-120b]
[deployments.gpu]
model = "gpt-oss-120b"
accelerator = "H100"
max_batch = 256
[deployments.service]
model = "gpt-oss-120b"
observed = { ttft_s = 0.1, input_tokens_per_s = 20000.0, tpot_s = 0.002 }
[pools.gpu]
deployment = "gpu"
price = { type = "hourly", usd_per_accelerator_hour = 1.3, electricity_usd_per_kwh = 0.08 }
backends = [{ name = "gpu-1", url = "http://10.0.0.1:8000", max_in_flight = 1000 }]
[pools.service]
deployment = "service"
price = { type = "per_token", input_usd_per_mtok = 0.35, output_usd_per_mtok = 0.75 }
backends = [{ name = "service-1", url = "http://10.0.0.2:8000", max_in_flight = 100000 }]
[classes.chat]
value_of_time_usd_per_s = 0.00001
slo = { ttft_s = 0.6, attainment = 0.95 }
[[routes]]
pools = ["gpu", "service"]
"""
TRAFFIC = SingleRequests(
    Poisson(9.0),
    LogNormalMixture(((1.0, 8.0, 0.5),), low=10, high=30_000),
    LogNormalMixture(((1.0, 5.5, 0.6),), low=5, high=3000),
)


def two_pools(max_kv_fraction: float | None = None, priced: bool = False) -> Fleet:
    """A cheap GPU with little KV room and a dear service that always answers fast; waiting costs next to nothing.

    Nothing but prices keeps requests from a full GPU: they wait there for a slot, however long.
    """
    text = TWO_POOLS.replace("attainment = 0.95", f"attainment = 0.95, priced = {str(priced).lower()}")
    if max_kv_fraction is not None:
        text = text.replace("[pools.gpu]", f"[pools.gpu]\nmax_kv_fraction = {max_kv_fraction}")
    return parse_fleet(text + "\n[limits]\nslot_wait_fraction = 1e9\n", "test")


BACKENDS = backend_states(two_pools())


@dataclass
class Run:
    """What was seen, second by second, and what became of the requests."""

    views: list[EngineView]
    records: list[RequestRecord]
    room_tokens: float

    def kv_fraction(self, from_s: float) -> float:
        """Mean fraction of the room that the GPU's attempts were expected to hold."""
        held = [view.backends[0].expected_kv_tokens for view in self.views if view.now_s >= from_s]
        return sum(held) / len(held) / self.room_tokens

    def attainment(self, from_s: float) -> float:
        found = [each.ttft_s for each in self.records if each.arrival_s >= from_s]
        return sum(ttft_s is not None and ttft_s <= TTFT_S for ttft_s in found) / len(found)

    def lambdas(self, from_s: float = 0.0) -> list[float]:
        return [view.limits[0].lambda_usd_per_unit for view in self.views if view.now_s >= from_s]


def run(fleet: Fleet, requests: Iterator[Request]) -> Run:
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    backends = []
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        backends += [
            SimulatedBackend(b.name, pool.name, model_server(curve), marginal_cost(pool, curve)) for b in pool.backends
        ]
    found = Run([], [], backend_states(fleet)[0].kv_capacity_tokens)

    def watch(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if now_s >= len(found.views):
            found.views.append(engine.view())

    pools = tuple(fleet.pools)
    SimulationDriver(
        engine, backends, found.records.append, lambda attempt: None, lambda request, at_s: (pools, ()), None, watch
    ).run(requests)
    return found


def traffic(seconds: float, seed: int = 0) -> Iterator[Request]:
    return generate([ClassTraffic("chat", TRAFFIC)], seconds, seed)


def test_a_pools_kv_room_is_kept_by_its_price() -> None:
    free, kept = run(two_pools(), traffic(300.0)), run(two_pools(0.9), traffic(600.0))
    assert free.kv_fraction(100.0) > 2.0, "without a price it is full several times over"
    assert kept.kv_fraction(300.0) == pytest.approx(0.9, abs=0.03)
    settled = kept.lambdas(300.0)
    assert min(settled) > 0.0
    assert max(settled) < 4.0 * min(settled)


def test_a_classs_attainment_is_kept_by_its_price() -> None:
    free, kept = run(two_pools(), traffic(300.0)), run(two_pools(priced=True), traffic(800.0))
    assert free.attainment(100.0) < 0.9
    assert 0.95 <= kept.attainment(400.0) < 0.985, "kept, and no more is paid for than that"
    settled = kept.lambdas(400.0)
    assert min(settled) > 0.0
    assert max(settled) < 4.0 * min(settled)
    assert kept.kv_fraction(400.0) > 0.5, "the cheap pool is still used for what meets the SLO there"


def test_a_price_falls_to_nothing_when_the_rush_is_over() -> None:
    rush = list(traffic(200.0))
    calm = [replace(each, arrival_s=200.0 + 30.0 * each.arrival_s) for each in traffic(20.0, seed=1)]
    found = run(two_pools(0.9), iter(rush + calm))
    assert max(found.lambdas()) > 0.0
    assert found.lambdas()[-1] == 0.0


def kv_price(saved_usd: float = 1.0) -> KvPrice:
    """A price on two backends whose pool saves 1 USD per token-second over the others."""
    states = backend_states(SAMPLE)
    price = KvPrice("h100", states, 0.9)
    price._saved_usd, price._saved_use = saved_usd, 1.0
    return price


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 60.0)), max_size=30))
def test_the_kv_price_rises_while_exceeded_falls_while_slack_and_is_never_negative(
    steps: list[tuple[float, float]],
) -> None:
    price = kv_price()
    (backend, *_) = price._backends
    now_s, fraction = 0.0, 0.0
    for held, seconds in steps:
        before = price.lambda_usd_per_token_s
        now_s += seconds
        backend.kv_tokens = held * price._room_tokens
        price.changed(now_s)
        after = price.lambda_usd_per_token_s
        assert after >= before if fraction >= 0.9 else after <= before
        assert 0.0 <= after <= HIGHEST
        assert abs(after - before) <= seconds / RISE_S + 1e-9
        fraction = held


@given(st.lists(st.booleans(), max_size=200))
def test_the_slo_price_rises_with_each_miss_and_falls_with_each_hit(missed: list[bool]) -> None:
    price = SloPrice(replace(SAMPLE.classes["chat"], slo=Slo(0.5, None, 0.95, True)))
    price._paid_usd, price._avoided = 1.0, 1.0
    seen = [0.0]
    for each in missed:
        answered(price, 10.0 if each else 0.1)
        seen.append(price.lambda_usd_per_miss)
    for miss, (before, after) in zip(missed, pairwise(seen), strict=True):
        assert 0.0 <= after <= HIGHEST
        assert after > before or after == HIGHEST if miss else after < before or after == 0.0


def answered(price: SloPrice, ttft_s: float) -> None:
    request = RequestState(1, SAMPLE.classes["chat"], "default", 100, 10.0, Candidates(()), (), True, 0.0)
    price.completed(20.0, AttemptState(1, request, BACKENDS[1], 0.0, 0.1, 0.01, 0.0, 0.0, Probe.NOTHING, ttft_s), 10.0)


def test_a_rejected_or_failed_request_is_a_miss_and_other_classes_are_not() -> None:
    price = SloPrice(replace(SAMPLE.classes["chat"], slo=Slo(0.5, None, 0.95, True)))
    other = RequestState(1, SAMPLE.classes["coding"], "default", 100, 10.0, Candidates(()), (), True, 0.0)
    price.lost(other)
    assert price.view().use == 0.0
    price.lost(RequestState(1, SAMPLE.classes["chat"], "default", 100, 10.0, Candidates(()), (), True, 0.0))
    assert price.view().use > 0.0


def limited(fleet: Fleet) -> Fleet:
    """The same fleet with a limit on a pool of two backends and a priced class."""
    pools = fleet.pools | {"h100": replace(fleet.pools["h100"], max_kv_fraction=0.0001)}
    chat = replace(fleet.classes["chat"], slo=Slo(0.05, 0.01, 0.9, True))
    return replace(fleet, pools=pools, classes=fleet.classes | {"chat": chat})


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), max_in_flight=st.integers(1, 3))
def test_with_limits_no_law_is_broken_and_a_journal_runs_again(seed: int, max_in_flight: int) -> None:
    fleet = limited(small_fleet(max_in_flight))
    chaos = Chaos(seed, max_in_flight, fleet=fleet)
    for _ in range(150):
        chaos.step()
    fresh = PolicyEngine(fleet, rng.stream(seed, "policy"))
    assert first_difference(fresh, decode_entries(chaos.journal)) == (len(chaos.journal), None)
    assert all(limit.lambda_usd_per_unit >= 0.0 for limit in chaos.engine.view().limits)


def test_limits_are_shown_where_they_are_declared_and_kept_by_prices_only() -> None:
    def names(engine: PolicyEngine) -> list[str]:
        return [limit.name for limit in engine.view().limits]

    fleet = limited(SAMPLE)
    assert names(PolicyEngine(fleet, rng.stream(0, ""))) == ["pools.h100.max_kv_fraction", "classes.chat.slo"]
    assert names(PolicyEngine(SAMPLE, rng.stream(0, ""))) == []
    for policy in (STATIC, GPU_ONLY):
        assert names(PolicyEngine(fleet, rng.stream(0, ""), policy)) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("[pools.gpu]", "[pools.gpu]\nmax_kv_fraction = 1.5", "pools.gpu.max_kv_fraction"),
        ("[pools.service]", "[pools.service]\nmax_kv_fraction = 0.9", "pools.service.max_kv_fraction"),
        ("ttft_s = 0.6, attainment = 0.95", "priced = true", "classes.chat.slo.priced"),
        ("attainment = 0.95", "attainment = 1.0, priced = true", "classes.chat.slo.priced"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_a_fault(old: str, new: str, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_fleet(TWO_POOLS.replace(old, new), "test")
    assert [fault.path for fault in raised.value.faults] == [path]


def test_the_guides_settings_are_taken_as_they_stand() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "keep-limits.md").read_text()
    first, second = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    said = tomllib.loads(first)
    raw = tomllib.loads(sample_fleet_text())
    raw["pools"]["h100"] |= said["pools"]["h100"]
    raw["classes"]["chat"]["slo"] |= said["classes"]["chat"]["slo"]
    fleet = build_fleet(raw | tomllib.loads(second), "guide")
    assert len(PolicyEngine(fleet, rng.stream(0, "")).view().limits) == 4
