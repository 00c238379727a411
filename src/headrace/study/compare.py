"""A simulation with its yardsticks: the policy under test, the same policy without the share's pools, and hindsight.

V(policy) = J(gpu_only) - J(policy)       J = sum of marginal cost + value of time * E2E, in USD
regret    = 1 - V / V*                    V* from `plan.hindsight`, at the share that the policy realized; of traffic
                                          with sessions there is none
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from headrace.config import load_policy
from headrace.cost import capacity_cost_usd
from headrace.fleet import Fleet, Incident
from headrace.metrics import PolicyReport, Report, RunFacts
from headrace.perf import speed_curve
from headrace.plan import Hindsight
from headrace.policy import GPU_ONLY, Policy
from headrace.sim import ORACLE, SimulationResult, simulate
from headrace.workload import Request

OpenRequests = Callable[[], Iterable[Request]]
Run = Callable[[Iterable[Request], Policy], SimulationResult]


def load_simulated_policy(name: str) -> Policy:
    """The policy called `name`: whatever `config.load_policy` knows, and the oracle.

    Raises:
        ConfigError: there is none of this name; it lists what there is.
    """
    return ORACLE if name == ORACLE.name else load_policy(name, also=(ORACLE.name,))


def simulate_and_compare(
    fleet: Fleet,
    open_requests: OpenRequests,
    policy: Policy,
    seed: int,
    command: str = "simulate",
    *,
    incidents: tuple[Incident, ...] = (),
    workers: int = 1,
) -> Report:
    """Simulate `policy` and report it, with value captured and regret where a share is steered.

    Args:
        open_requests: opens the same requests afresh at every call; they are read up to three times.
        incidents, workers: as in `simulate`; the baseline meets the same ones. Hindsight knows no incidents, and could
            be beaten: with some there is no regret.
    """

    def run(requests: Iterable[Request], chosen: Policy) -> SimulationResult:
        return simulate(fleet, iter(requests), chosen, seed, incidents=incidents, workers=workers)

    result = run(open_requests(), policy)
    found = _value(fleet, open_requests, result, policy.name, run)
    if incidents:
        found = msgspec.structs.replace(found, hindsight_value_usd=None, regret=None)
    return result.metrics.finish(run_facts(fleet, result, command, seed, found))


def run_facts(fleet: Fleet, result: SimulationResult, command: str, seed: int, policy: PolicyReport) -> RunFacts:
    """What the records of a simulation do not hold: utilization, cost of capacity, energy."""
    costs: dict[str, float | None] = {}
    energy: dict[str, float | None] = {}
    for name, pool in fleet.pools.items():
        attempts_usd = result.metrics.pools[name].cost_usd
        costs[name] = attempts_usd + capacity_cost_usd(pool, result.replica_s[name])
        power_w = speed_curve(pool.deployment).power_w
        energy[name] = None if power_w is None else power_w * result.busy_s[name]
    return RunFacts(
        command=command,
        end_s=result.last_arrival_s,
        seed=seed,
        utilization=result.utilization,
        pool_cost_usd=costs,
        pool_energy_j=energy,
        policy=policy,
    )


def regret(captured_usd: float, best_usd: float | None) -> float | None:
    """1 - V / V*; None where V* is unknown or 0."""
    return None if best_usd is None or best_usd <= 0.0 else 1.0 - captured_usd / best_usd


def _value(fleet: Fleet, open_requests: OpenRequests, result: SimulationResult, policy: str, run: Run) -> PolicyReport:
    share = fleet.steered_share()
    if share is None:
        return PolicyReport(policy)
    hindsight = Hindsight(fleet)
    baseline = run(_watched(open_requests(), hindsight), GPU_ONLY)
    captured = baseline.metrics.j_usd - result.metrics.j_usd
    best = hindsight.value_usd(result.metrics.shares[share.name].realized)
    return PolicyReport(policy, captured, best, regret(captured, best))


def _watched(requests: Iterable[Request], hindsight: Hindsight) -> Iterator[Request]:
    for request in requests:
        hindsight.add(request)
        yield request
