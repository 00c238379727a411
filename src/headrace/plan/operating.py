"""How much of a replica a request takes, where its class still gets what it was promised and costs least.

A replica is two stations: places (slots of the batch, or what the KV room holds) and a lane for prefill. With B
requests in it, all of one size, C tokens of context each on average, O of output, prefill p of the input that no cache
has:

    continuous batching   step = step_s[B] + kv B C        stay = O step + B p        TPOT = step + (B - 1) p / O
    SRAM pipeline         step = step_s[B]                 stay = O step + p          TPOT = step
    split                 as the pipeline, its places and its lanes on replicas of their own, and a transfer between

The speeds are those of the deployment's speed curve, so a plan, the simulation that proves it and the prices of the
gateway rest on the same numbers; `perf.closed_loop` is the closed form behind the curve of continuous batching
(`tests/plan` holds the two against each other). A prefix cache is why the form itself is not asked: it prefills all
that it has in context.

Throughput at B is at most min(B / stay, lanes / p), and nobody may run at that: requests come at random, and wait.
There is a largest rate at which TTFT, with the wait for a place and for the lane that all but a part 1 - attainment
stay under (`queueing`), and TPOT and E2E at the full B, are within their thresholds. B, and how much of that rate is
planned with, are chosen to make a request cheapest: the seconds that it takes of a unit at the unit's price, and those
that its user waits at theirs. So where nobody waits a replica is filled, and where waiting is dear it is not: a wafer
that serves a thousand sessions is no faster than a GPU. A class without thresholds still has its timeout.

How many prompts of others a request meets is chance too: about B - 1, Poisson, of sizes that scatter as much as their
mean, so that a quantile z of TPOT has (B - 1 + z sqrt(2 (B - 1))) p / O in it. What a prefix cache must keep between
two requests takes KV room as well, which bounds the rate: rate * hold * context <= room - B * context.

What is approximate: requests of different sizes in one replica are taken to add up (Mélange, arXiv 2404.14527, plans
so too; what they meet there is `mixture`); TPOT is that of a full replica for everybody; the two waits are added as
quantiles, which is on the safe side; and `pooled_units` replicas are taken to share one queue. A simulation of the plan
says how far that carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Split
from headrace.perf import Claim, Serving, SpeedCurve, check_conservation, kv_token_bytes
from headrace.plan.queueing import Array, mean_wait_s, wait_quantile_s

BISECTIONS = 30
OCCUPANCY_ROUNDS = 30
CONCURRENCIES = 40  # that are tried between one and the largest
LOAD_PARTS = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the largest rate, that are tried
SCATTER = 2.0  # variance over mean of what a Poisson number of exponential sizes adds up to
NO_TIME_S = 1e-12  # for what takes none, where it divides
FREE_USD_PER_S = 1e-12  # of a unit that costs nothing: the largest rate is still the better one


@dataclass(frozen=True, slots=True)
class Ask:
    """Requests and what they were promised, one array entry each.

    Attributes:
        fresh_tokens: input that is prefilled; the rest of `input_tokens` is found in a cache.
        ttft_s, tpot_s, e2e_s: thresholds; infinite where there is none.
        miss: part of the requests that may miss them.
        burstiness: variance over mean of what is in service.
        hold_s: how long the context stays in the cache after the request.
        usd_per_s: what a second of waiting costs.
    """

    input_tokens: Array
    fresh_tokens: Array
    output_tokens: Array
    ttft_s: Array
    tpot_s: Array
    e2e_s: Array
    miss: Array
    burstiness: Array
    hold_s: Array
    usd_per_s: Array

    def column(self, name: str) -> Array:
        """One attribute as a column, to go with a row of concurrencies."""
        return np.asarray(getattr(self, name))[:, None]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where a replica is run for one kind of request.

    Attributes:
        concurrency: most requests in it at once.
        rate_per_s: planned, with the room that waiting needs; `capacity_per_s` without.
        ttft_s, tpot_s, e2e_s: mean, at the planned rate.
        slo_ttft_s, slo_tpot_s: what all but the part that may miss stay under.
    """

    concurrency: int
    rate_per_s: float
    capacity_per_s: float
    ttft_s: float
    tpot_s: float
    e2e_s: float
    slo_ttft_s: float
    slo_tpot_s: float

    @property
    def unit_s(self) -> float:
        """Seconds of a replica that a request takes, the room for waiting in it."""
        return 1.0 / self.rate_per_s

    @property
    def busy_s(self) -> float:
        """The same without that room: what it costs in energy."""
        return 1.0 / self.capacity_per_s


@dataclass(frozen=True, slots=True)
class Station:
    """A unit: its curve, how many replicas prefill and decode, and how long KV is on its way between them."""

    curve: SpeedCurve
    decoding: int = 1
    lanes: int = 1
    apart: bool = False
    transfer_s: float = 0.0
    transfer_s_per_token: float = 0.0


class _State(NamedTuple):
    """A unit with B requests a replica, columns of requests by rows of concurrencies."""

    stay_s: Array
    tpot_s: Array
    slo_tpot_s: Array
    ttft_s: Array
    lane_s: Array


def station_of(deployment: Deployment, curve: SpeedCurve) -> Station:
    """The unit of a deployment.

    Raises:
        ModelRangeError: it is a service: what it holds is not known.
    """
    if curve.serving is Serving.HOSTED:
        raise ModelRangeError(
            f"deployment {deployment.name!r} is a service: how much of it a request takes is not known"
        )
    split: Split | None = deployment.split
    if split is None:
        return Station(curve, apart=curve.serving is Serving.DATAFLOW)
    per_token_s = kv_token_bytes(deployment) / split.link_bytes_per_s
    return Station(curve, split.decode_replicas, split.prefill_replicas, True, split.link_latency_s, per_token_s)


def operating_points(
    station: Station, ask: Ask, unit_usd_per_s: float = 0.0, pooled_units: int = 1
) -> list[OperatingPoint | None]:
    """The best operating point for each kind of request; None where no concurrency meets its thresholds.

    Args:
        unit_usd_per_s: price of a unit's second; where it and the waiting cost nothing, the largest rate is the best.
    """
    row = _concurrencies(station.curve.max_batch)
    state = _state(station, ask, row[None, :])
    capacity = np.minimum(station.decoding * row / state.stay_s, station.lanes / np.maximum(state.lane_s, NO_TIME_S))
    load = _largest_load(station, ask, row, state, capacity, pooled_units)
    most = np.minimum(load * capacity, _kept_rate(station, ask, row))
    most = np.where(state.slo_tpot_s <= ask.column("tpot_s"), most, 0.0)
    rate, usd = most, np.full_like(most, np.inf)
    for part in LOAD_PARTS:
        now = _usd(station, ask, row, state, most * part, max(unit_usd_per_s, FREE_USD_PER_S), pooled_units)
        rate, usd = np.where(now < usd, most * part, rate), np.minimum(now, usd)
    best, each = np.argmin(usd, axis=1), np.arange(len(usd))
    return _points(station, ask, row[best], rate[each, best], capacity[each, best], pooled_units)


def _usd(
    station: Station, ask: Ask, row: Array, state: _State, rate: Array, unit_usd_per_s: float, pooled: int
) -> Array:
    """What a request costs in unit-seconds and in waiting; infinite where it is not served."""
    slots, lane = _waits(station, ask, row, state, rate, pooled)
    burstiness = ask.column("burstiness")
    waits_s = state.ttft_s + mean_wait_s(*slots, burstiness) + mean_wait_s(*lane, burstiness)
    waits_s = waits_s + ask.column("output_tokens") * state.tpot_s
    waiting = np.where(ask.column("usd_per_s") > 0.0, ask.column("usd_per_s") * waits_s, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(rate > 0.0, unit_usd_per_s / rate + waiting, np.inf))


def conserves(deployment: Deployment, ask: Ask, points: list[OperatingPoint | None], tokens_per_pass: float) -> None:
    """Hold the capacities of operating points against the silicon (`perf.check_conservation`).

    Raises:
        InvariantError: one of them needs more than there is.
    """
    if deployment.accelerator is None or deployment.split is not None:
        return
    check_conservation(
        Claim(
            deployment,
            busy_s=point.busy_s,
            input_tokens=float(ask.fresh_tokens[index]),
            output_tokens=float(ask.output_tokens[index]),
            kv_tokens=point.concurrency * float(ask.input_tokens[index] + ask.output_tokens[index]),
            tokens_per_pass=tokens_per_pass,
        )
        for index, point in enumerate(points)
        if point is not None
    )


def _concurrencies(most: int) -> Array:
    return np.unique(np.round(np.geomspace(1.0, most, CONCURRENCIES)))


def _state(station: Station, ask: Ask, held: Array) -> _State:
    curve, fresh, output = station.curve, ask.column("fresh_tokens"), ask.column("output_tokens")
    context = ask.column("input_tokens") + output / 2.0
    step = np.interp(held, np.arange(len(curve.step_s)), curve.step_s) + curve.kv_s_per_token * held * context
    prefill = prefill_s(curve, ask.column("input_tokens"), fresh)
    seen = curve.ttft_overhead_s + curve.ttft_overhead_s_per_token * ask.column("input_tokens")
    seen = seen + curve.ttft_overhead_s_per_sequence * held + prefill
    if station.apart:
        moved = station.transfer_s + station.transfer_s_per_token * ask.column("input_tokens")
        carrier = step if curve.serving is Serving.BATCHING else np.zeros_like(step)
        own = prefill if curve.serving is Serving.DATAFLOW else 0.0
        return _State(output * step + own, step, step, seen + carrier + moved, prefill + 0.0 * step)
    chunks, others = fresh / curve.chunk_tokens, np.maximum(0.0, held - 1.0)
    met = others + ndtri(1.0 - ask.column("miss")) * np.sqrt(SCATTER * others)
    return _State(
        output * step + held * prefill,
        step + others * prefill / output,
        np.where(output < 2.0, 0.0, step + met * prefill / output),
        seen + (0.5 + np.ceil(chunks)) * step,
        prefill + chunks * step,
    )


def prefill_s(curve: SpeedCurve, input_tokens: Array, fresh_tokens: Array) -> Array:
    """Seconds of prefill: of the fresh tokens, which come last and attend to all before them, cached ones too."""
    cached = input_tokens - fresh_tokens
    linear, squared = curve.prefill_s_per_token, curve.prefill_s_per_token_squared
    seconds = curve.prefill_fixed_s + fresh_tokens * (linear + squared * (input_tokens + cached))
    return np.where(fresh_tokens > 0.0, seconds, 0.0)


def _kept_rate(station: Station, ask: Ask, row: Array) -> Array:
    """Rate that leaves KV room for what a cache keeps between requests; 0 where the requests themselves do not fit."""
    context, hold = ask.column("input_tokens") + ask.column("output_tokens"), ask.column("hold_s")
    room = station.curve.kv_capacity_tokens
    spare = np.inf if room is None else room / context - row
    kept = station.decoding * spare / np.maximum(hold, NO_TIME_S)
    return np.asarray(np.where(spare < 0.0, 0.0, np.where(hold > 0.0, kept, np.inf)))


def _waits(
    station: Station, ask: Ask, held: Array, state: _State, rate: Array, pooled: int
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """(places, load, service time) of the slots and of the lane."""
    slots = station.decoding * held * pooled + 0.0 * rate
    lanes = np.full_like(rate, float(station.lanes * pooled))
    slot_load = rate * state.stay_s / (station.decoding * held)
    lane_load = rate * state.lane_s / station.lanes
    return (slots, np.minimum(slot_load, 1.0), state.stay_s), (lanes, np.minimum(lane_load, 1.0), state.lane_s)


def _largest_load(station: Station, ask: Ask, row: Array, state: _State, capacity: Array, pooled: int) -> Array:
    """The largest part of capacity at which TTFT and E2E hold; 0 where they never do. By bisection."""
    low, high = np.zeros_like(capacity), np.ones_like(capacity)
    miss, burstiness = ask.column("miss"), ask.column("burstiness")
    output = ask.column("output_tokens")
    for _ in range(BISECTIONS):
        load = 0.5 * (low + high)
        slots, lane = _waits(station, ask, row, state, load * capacity, pooled)
        wait = wait_quantile_s(*slots, burstiness, miss) + wait_quantile_s(*lane, burstiness, miss)
        ttft = state.ttft_s + wait
        good = (ttft <= ask.column("ttft_s")) & (ttft + output * state.slo_tpot_s <= ask.column("e2e_s"))
        low, high = np.where(good, load, low), np.where(good, high, load)
    return low


def _points(
    station: Station, ask: Ask, held: Array, rate: Array, capacity: Array, pooled: int
) -> list[OperatingPoint | None]:
    """The chosen points in full: mean latencies at the planned rate, and those that all but a part stay under."""
    chosen = held[:, None]
    full = _state(station, ask, chosen)
    slots, lane = _waits(station, ask, chosen, full, rate[:, None], pooled)
    burstiness, miss = ask.column("burstiness"), ask.column("miss")
    wait = mean_wait_s(*slots, burstiness) + mean_wait_s(*lane, burstiness)
    worst = wait_quantile_s(*slots, burstiness, miss) + wait_quantile_s(*lane, burstiness, miss)
    usual = _state(station, ask, _occupancy(station, ask, chosen, rate[:, None]))
    ttft, tpot = (usual.ttft_s + wait)[:, 0], usual.tpot_s[:, 0]
    e2e = ttft + np.maximum(0.0, ask.output_tokens - 1.0) * tpot
    late, slow = (full.ttft_s + worst)[:, 0], full.slo_tpot_s[:, 0]
    columns = (rate, capacity, ttft, tpot, e2e, late, slow)
    rows = zip(held.tolist(), *(column.tolist() for column in columns), strict=True)
    return [OperatingPoint(int(places), *rest) if rest[0] > 0.0 else None for places, *rest in rows]


def _occupancy(station: Station, ask: Ask, held: Array, rate: Array) -> Array:
    """Mean requests in a replica at `rate`: b = rate * stay(b) / replicas, from above."""
    occupied = held
    for _ in range(OCCUPANCY_ROUNDS):
        stay = _state(station, ask, np.maximum(1.0, occupied)).stay_s
        occupied = np.minimum(held, rate * stay / station.decoding)
    return np.asarray(np.maximum(1.0, occupied))
