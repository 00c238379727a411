"""Every way of serving in a whole simulation: nobody is lost, conservation holds, and the seed decides alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from headrace.config import load_fleet
from headrace.fleet import (
    Deployment,
    Fleet,
    KvCache,
    KvPolicy,
    OperatingPoint,
    PerToken,
    Preemption,
    Quantiles,
    Replicas,
    Split,
)
from headrace.perf import speed_curve
from headrace.rng import stream
from headrace.sim import SimulationResult, simulate
from headrace.workload import Request

GROW = KvCache(policy=KvPolicy.GROW)
WAYS = {
    "recompute": {"kv_cache": GROW},
    "swap": {"kv_cache": replace(GROW, preemption=Preemption.SWAP, swap_bytes=64e9, swap_bytes_per_s=25e9)},
    "prefix": {"kv_cache": replace(GROW, prefix_cache=True)},
    "replicas": {"replicas": Replicas(2, 2)},
    "scaled": {"replicas": Replicas(1, 3, target_in_flight=4.0, start_s=5.0, interval_s=2.0, scale_down_delay_s=10.0)},
    "split": {"split": Split(1, 2, 50e9)},
    "scatter": {
        "observed": OperatingPoint(
            0.2, 1e4, 0.01, ttft_quantiles=Quantiles((0.5, 0.9), (0.2, 0.9)), tpot_quantiles=Quantiles((0.5,), (0.01,))
        ),
        "accelerator": None,
    },
}


def fleet_with(way: dict[str, object]) -> Fleet:
    """The sample fleet's GPU pool alone, served in some way."""
    fleet = load_fleet()
    pool = next(pool for pool in fleet.pools.values() if pool.name == "h100")
    deployment: Deployment = replace(pool.deployment, **way)  # type: ignore[arg-type]
    price = pool.price if deployment.accelerator else PerToken(0.1, 0.4)
    routes = tuple(replace(route, pools=("h100",)) for route in fleet.routes[:1])
    return replace(fleet, pools={"h100": replace(pool, deployment=deployment, price=price)}, shares={}, routes=routes)


def traffic(name: str, seed: int) -> Iterator[Request]:
    """400 requests of very different lengths, twelve a second."""
    draw, now_s = stream(seed, "test"), 0.0
    for _ in range(400):
        now_s += draw.expovariate(12.0)
        yield Request(now_s, name, 1 + int(draw.lognormvariate(7.5, 1.0)), 1 + int(draw.lognormvariate(5.0, 0.8)))


def run(way: dict[str, object], seed: int = 1) -> SimulationResult:
    fleet = fleet_with(way)
    return simulate(fleet, traffic(next(iter(fleet.classes)), seed), seed=seed)


@pytest.mark.parametrize("name", WAYS)
def test_nobody_is_lost_and_the_seed_decides_alone(name: str) -> None:
    first, second = run(WAYS[name]), run(WAYS[name])
    totals = [next(iter(result.metrics.classes.values())) for result in (first, second)]
    assert sum(totals[0].outcomes.values()) == totals[0].outcomes["completed"] == 400
    assert (totals[0].ttft.quantile(0.9), first.end_s, first.busy_s) == (
        totals[1].ttft.quantile(0.9),
        second.end_s,
        second.busy_s,
    )
    used = first.utilization["h100"]
    assert used is not None
    assert 0.0 < used <= 1.0


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_curve_over_replicas_gives_each_its_part(replicas: int) -> None:
    curve = speed_curve(load_fleet().pools["h100"].deployment)
    whole = curve.spread(replicas)
    for batch in (1, 7, curve.max_batch):
        assert whole.tpot_s(batch * replicas, 1000.0) == pytest.approx(curve.tpot_s(batch, 1000.0))
        assert whole.step_s[batch * replicas] == whole.step_s[(batch - 1) * replicas + 1]
        assert whole.overhead_s(5000, batch * replicas) == pytest.approx(curve.overhead_s(5000, batch))
    assert curve.ttft_overhead_s_per_sequence > 0.0
    assert whole.prefill_s(5000) == curve.prefill_s(5000)
