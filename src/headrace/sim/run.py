"""One simulation: a fleet, a stream of requests, a policy, a seed; out comes what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from headrace import rng
from headrace.cost import marginal_cost, period_rates, share_rates
from headrace.fleet import Backend, Fleet, Incident
from headrace.fleet.dialect_check import debited_deployment, spoken_dialect
from headrace.metrics import RequestRecord, RunMetrics
from headrace.modelserver import QuotaGate, model_server, replica_s
from headrace.perf import Claim, check_conservation, speed_curve
from headrace.policy import PRICES, AnyAction, AnyEvent, Policy, PolicyEngine, resizable_backends
from headrace.sim.driver import EligiblePools, SimulatedBackend, SimulationDriver
from headrace.sim.faults import FaultTimeline
from headrace.sim.oracle import OraclePredictor
from headrace.sim.peers import PeerFeed
from headrace.sim.signals import SignalFeed
from headrace.sim.workers import Workers
from headrace.wire.dialects import COMPATIBLE, DIALECTS, Continuation
from headrace.workload import Request

ORACLE = Policy("oracle", "prices with true lengths: what knowing them would be worth; simulated only")


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a run leaves.

    Attributes:
        end_s: virtual time of the last event; `last_arrival_s`: of the last arrival.
        utilization: busy fraction of each pool's replicas until `end_s`; None for a run of no length.
        busy_s: seconds in which each pool's replicas were busy, summed over its replicas.
        replica_s: seconds in which each pool's replicas were there, from start to stop.
    """

    metrics: RunMetrics
    end_s: float
    last_arrival_s: float
    utilization: dict[str, float | None]
    busy_s: dict[str, float]
    replica_s: dict[str, float]


def simulate(
    fleet: Fleet,
    requests: Iterator[Request],
    policy: Policy = PRICES,
    seed: int = 0,
    on_step: Callable[[float, AnyEvent, list[AnyAction]], None] | None = None,
    *,
    incidents: tuple[Incident, ...] = (),
    workers: int = 1,
    apart: bool = False,
    on_request: Callable[[RequestRecord], None] | None = None,
) -> SimulationResult:
    """Run `requests` over `fleet`; the same arguments give the same result.

    Args:
        policy: any policy of the engine, or `ORACLE`: prices with true lengths, which only a simulator can know.
        incidents: what goes wrong with backends, and when. workers: of the gateway, each with an engine of its own.
        apart: workers tell each other nothing.
        on_request: is shown every ended request, as it ends.

    Raises:
        InvariantError: a law of the system was broken (conservation too), or arrivals are out of order.
    """
    oracle = OraclePredictor() if policy is ORACLE else None
    backends, routed = _backends(fleet, seed), eligible_pools(fleet)
    faults = FaultTimeline(fleet, backends, incidents, seed) if incidents else None
    rates = {share.name: share_rates(fleet, share) for share in fleet.shares.values()}
    metrics = RunMetrics(fleet, rates, period_rates=period_rates(fleet))
    driver = SimulationDriver(
        _engine(fleet, seed, policy, oracle, workers),
        backends,
        _told(metrics.request, on_request),
        metrics.attempt,
        routed if faults is None else faults.up_when_dispatched(routed),
        oracle,
        on_step,
        metrics.task,
        resizable_backends(fleet) if any(backend.continues for backend in backends) else (),
    )
    if faults is not None:
        faults.start(driver)
    if fleet.signals is not None:
        SignalFeed(fleet, fleet.signals, backends, incidents).start(driver)
    if workers > 1 and not apart:
        PeerFeed(fleet.peers.interval_s).start(driver)
    counted = _Counted(requests)
    end_s = driver.run(counted)
    return _result(fleet, driver, metrics, end_s, counted.last_arrival_s)


def _result(
    fleet: Fleet, driver: SimulationDriver, metrics: RunMetrics, end_s: float, last_read_s: float
) -> SimulationResult:
    """What a finished run leaves, held against its silicon. Raises InvariantError: it implies more than there is."""
    busy_s, there_s = dict.fromkeys(fleet.pools, 0.0), dict.fromkeys(fleet.pools, 0.0)
    for backend in driver.backends.values():
        there_s[backend.pool] += replica_s(backend.server, end_s)
        busy_s[backend.pool] += backend.server.busy_s
    check_conservation(_claims(fleet, metrics, busy_s))
    utilization = {name: busy_s[name] / there_s[name] if there_s[name] > 0 else None for name in fleet.pools}
    last_arrival_s = max(last_read_s, driver.sessions.last_start_s)
    return SimulationResult(metrics, end_s, last_arrival_s, utilization, busy_s, there_s)


def _told(
    count: Callable[[RequestRecord], None], watch: Callable[[RequestRecord], None] | None
) -> Callable[[RequestRecord], None]:
    """Counts, and shows what was counted to whoever watches."""
    if watch is None:
        return count

    def both(record: RequestRecord) -> None:
        count(record)
        watch(record)

    return both


def _engine(
    fleet: Fleet, seed: int, policy: Policy, oracle: OraclePredictor | None, workers: int
) -> PolicyEngine | Workers:
    """The gateway's engine, or those of its workers; one worker is the engine itself."""
    if workers == 1:
        return PolicyEngine(fleet, rng.stream(seed, "policy"), policy, oracle)
    streams = (rng.stream(seed, f"policy.{worker}") for worker in range(workers))
    engines = tuple(PolicyEngine(fleet, stream, policy, oracle) for stream in streams)
    return Workers(engines, rng.stream(seed, "sim.workers"))


def _claims(fleet: Fleet, metrics: RunMetrics, busy_s: dict[str, float]) -> Iterator[Claim]:
    """What a run says that each pool's silicon did; of a service that was only observed nothing is known."""
    for name, pool in fleet.pools.items():
        if pool.deployment.accelerator is not None and pool.deployment.observed is None:
            totals = metrics.pools[name]
            tokens_per_pass = speed_curve(pool.deployment).tokens_per_pass
            yield Claim(
                pool.deployment,
                busy_s[name],
                totals.input_tokens - totals.cached_input_tokens,
                totals.output_tokens,
                tokens_per_pass=tokens_per_pass,
            )


def eligible_pools(fleet: Fleet) -> EligiblePools:
    """Pools that the fleet's routes allow a request, by the first route that matches."""
    cache: dict[tuple[str | None, str, str], tuple[str, ...]] = {}

    def pools(request: Request, dispatch_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        key = (request.model, request.tenant, request.workload_class)
        if key not in cache:
            found = (route.pools for route in fleet.routes if route.matches(*key))
            cache[key] = next(found, ())
        return cache[key], ()

    return pools


def _backends(fleet: Fleet, seed: int) -> list[SimulatedBackend]:
    backends = []
    gates: dict[str, QuotaGate] = {}
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        cost = marginal_cost(pool, curve)
        for backend in pool.backends:
            deployment = debited_deployment(pool.deployment, spoken_dialect(backend))
            server = model_server(curve, deployment, seed, backend.name, gates)
            backends.append(SimulatedBackend(backend.name, pool.name, server, cost, _continues(backend)))
    return backends


def _continues(backend: Backend) -> bool:
    """Whether a chat that broke off elsewhere goes on there; a backend that names no dialect is taken to be able to."""
    dialect = DIALECTS.get(backend.dialect)
    if dialect is None or dialect is COMPATIBLE:
        return True
    return dialect.continuation in (Continuation.TRAILING_ASSISTANT, Continuation.CONTINUE_FLAG)


class _Counted(Iterator[Request]):
    """Passes requests on and remembers when the last one came."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests
        self.last_arrival_s = 0.0

    def __next__(self) -> Request:
        request = next(self._requests)
        self.last_arrival_s = request.arrival_s
        return request
