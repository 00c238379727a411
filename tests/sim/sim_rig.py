"""Small fleets for the simulator, traffic with analytic answers, and an observer of every request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from headrace import rng
from headrace.cost import MarginalCost, marginal_cost
from headrace.fleet import Backend, Deployment, Fleet, Limits, Model, OperatingPoint, PerToken, Pool, Route
from headrace.modelserver import model_server
from headrace.perf import speed_curve
from headrace.perf.speed import Serving, SpeedCurve
from headrace.policy import AnyAction, AnyEvent, Arrived, Dispatch, End, FirstToken, PolicyEngine
from headrace.sim import simulate
from headrace.sim.driver import SimulatedBackend, SimulationDriver
from headrace.workload import ClassTraffic, Request, SingleRequests, Slo, WorkloadClass, generate
from headrace.workload.arrivals import Poisson

TPOT_S = 1e-4
MEAN_OUTPUT_TOKENS = 10_000  # a mean service time of 1 s, in steps so fine that rounding to tokens does not show
NO_TIME = OperatingPoint(ttft_s=1e-12, input_tokens_per_s=1e12, tpot_s=TPOT_S)
PATIENT = Limits(queue_depth=10**9, queue_timeout_s=1e9, first_byte_timeout_s=1e9, overload_s=1e12)


@dataclass(frozen=True)
class ExponentialTokens:
    """Output lengths whose decode time, (tokens - 1) * TPOT, is exponential."""

    mean: float

    def draw_tokens(self, random: Random) -> int:
        return 1 + round(random.expovariate(1.0 / self.mean))


@dataclass(frozen=True)
class ConstantTokens:
    """Every draw is the same."""

    tokens: int

    def draw_tokens(self, random: Random) -> int:
        return self.tokens


def poisson_requests(rate_req_per_s: float, output_tokens: object, count: int, seed: int) -> Iterator[Request]:
    """The first `count` requests of Poisson traffic with one input token each."""
    traffic = SingleRequests(Poisson(rate_req_per_s), ConstantTokens(1), output_tokens)  # type: ignore[arg-type]
    return islice(generate([ClassTraffic("chat", traffic)], float("inf"), seed), count)


def one_pool_fleet(
    backends: int = 1,
    max_in_flight: int = 1,
    *,
    point: OperatingPoint = NO_TIME,
    slo: Slo = Slo(),  # noqa: B008 - frozen
    limits: Limits = PATIENT,
) -> Fleet:
    """One pool of services of constant speed: nothing waits but in the engine's waiting room."""
    model = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
    deployment = Deployment("d", model, observed=point)
    members = tuple(Backend(f"b{i}", "p", f"http://127.0.0.1:{i + 1}", None, max_in_flight) for i in range(backends))
    return Fleet(
        models={"m": model},
        deployments={"d": deployment},
        pools={"p": Pool("p", deployment, PerToken(0.1, 0.4), members)},
        classes={"chat": WorkloadClass("chat", 0.0003, slo)},
        shares={},
        routes=(Route(("p",)),),
        limits=limits,
        default_class="chat",
    )


def slotted_curve(serving: Serving, slots: int) -> SpeedCurve:
    """A model server with `slots` slots, no limit of memory, and a token time that does not depend on the batch."""
    return SpeedCurve(
        serving=serving,
        ttft_overhead_s=0.0,
        prefill_s_per_token=1e-12,
        prefill_s_per_token_squared=0.0,
        step_s=(TPOT_S,) * (slots + 1),
        kv_s_per_token=0.0,
        max_batch=slots,
        chunk_tokens=1024,
        depth=slots,
        kv_capacity_tokens=None,
        power_w=None,
    )


class Watch:
    """Notes when each request arrived, was first dispatched, had its first token and ended; an `on_step`."""

    def __init__(self) -> None:
        self.arrived_s: dict[int, float] = {}
        self.dispatched_s: dict[int, float] = {}
        self.first_token_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self._request_of: dict[int, int] = {}

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if isinstance(event, Arrived):
            self.arrived_s[event.request_id] = now_s
        elif isinstance(event, FirstToken):
            self.first_token_s.setdefault(self._request_of[event.attempt_id], now_s)
        for action in actions:
            if isinstance(action, Dispatch):
                self._request_of[action.attempt_id] = action.request_id
                self.dispatched_s.setdefault(action.request_id, now_s)
            elif isinstance(action, End):
                self.ended_s[action.request_id] = now_s

    @property
    def waits_s(self) -> list[float]:
        """From arrival to first token, in order of arrival: the wait, wherever it was, when TTFT itself is nothing."""
        return [self.first_token_s[request_id] - at_s for request_id, at_s in self.arrived_s.items()]


def watched(fleet: Fleet, requests: Iterable[Request]) -> Watch:
    """Simulate `requests` over `fleet` and note what happened to each."""
    watch = Watch()
    simulate(fleet, iter(requests), on_step=watch)
    return watch


def watched_on_server(
    curve: SpeedCurve, requests: Iterable[Request], classes: dict[str, WorkloadClass] | None = None
) -> Watch:
    """As `watched`, but over one model server with this curve: who waits, waits there and not in the engine."""
    fleet = one_pool_fleet(max_in_flight=10**9)
    fleet = fleet if classes is None else replace(fleet, classes=classes)
    free = marginal_cost(fleet.pools["p"], speed_curve(fleet.deployments["d"]))
    return _drive(fleet, curve, free, requests)


def _drive(fleet: Fleet, curve: SpeedCurve, cost: MarginalCost, requests: Iterable[Request]) -> Watch:
    watch = Watch()
    backend = SimulatedBackend("b0", "p", model_server(curve), cost)
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    driver = SimulationDriver(
        engine, [backend], lambda record: None, lambda record: None, lambda request, at_s: (("p",), ()), None, watch
    )
    driver.run(iter(requests))
    return watch
