"""What requests of all kinds meet in one replica: the latency that a plan promises.

The planner fills a replica for each kind of request apart, and adds up the seconds that they take of it (`operating`).
That says how much is needed, not how fast it is: coding is planned at two requests in a replica and batch work at a
hundred, and the same replica serves both. There, with lambda requests/s of each kind that a unit gets, p the seconds
of prefill and O the output tokens of one,

    busy      = sum of lambda p / lanes                        part of the time that goes into prefill
    b         = sum of lambda e2e                              requests that another one meets (Little, 1961)
    TPOT      = step(1 + b) / (1 - busy)                       prefill stops the decoding of all; not where it is apart
    wait      = that of a queue with one place for every lane of the pool, load `busy`, and service E[p^2] / 2 E[p]
    e2e       = TTFT(1 + b) + wait + (O - 1) TPOT              the smallest b that agrees with itself

Prefill waits, bursts and steps are those of `operating` and `queueing`. Where there is no such b within the batch, the
replica is as full as it can be, and the promise is that of the operating points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.perf import Serving
from headrace.plan.build import Built
from headrace.plan.operating import NO_TIME_S, Station, prefill_s, station_of
from headrace.plan.queueing import Array, mean_wait_s
from headrace.plan.solution import Solution
from headrace.plan.speeds import planned_curve
from headrace.plan.uses import cached_fraction

ROUNDS = 200
CLOSE = 1e-4  # of a request


@dataclass(frozen=True, slots=True)
class Latency:
    """Means in seconds, by (cells, periods)."""

    ttft_s: Array
    tpot_s: Array
    e2e_s: Array


@dataclass(frozen=True, slots=True)
class _Mix:
    """Columns of cells, rows of periods.

    Attributes:
        rate: requests/s of each unit; `places`: lanes of the pool.
    """

    station: Station
    rate: Array
    places: Array
    input_tokens: Array
    fresh_tokens: Array
    output_tokens: Array
    burstiness: Array


def latencies(built: Built, solution: Solution, index: int, periods: Sequence[int]) -> Latency:
    """Of every cell at one candidate, as the plan loads it; without a meaning where the plan sends none of the cell."""
    alone = _alone(built, index, len(periods))
    if built.problem.candidates[index].by_token:
        return alone
    mix = _mix(built, solution, index, list(periods))
    mixed, settled = _settled(mix)
    known = settled & (mix.rate > 0.0)
    return Latency(*(np.where(known, a, b) for a, b in zip(_figures(mixed), _figures(alone), strict=True)))


def _figures(latency: Latency) -> tuple[Array, Array, Array]:
    return latency.ttft_s, latency.tpot_s, latency.e2e_s


def _alone(built: Built, index: int, periods: int) -> Latency:
    """At the operating point of each cell; 0 where it is not served."""
    uses = [built.problem.candidates[index].uses.get(j) for j in range(len(built.problem.cells))]
    rows = np.array([(0.0, 0.0, 0.0) if use is None else (use.ttft_s, use.tpot_s, use.e2e_s) for use in uses])
    return Latency(*(np.repeat(column[:, None], periods, axis=1) for column in rows.T))


def _mix(built: Built, solution: Solution, index: int, periods: list[int]) -> _Mix:
    offer, cells = built.offer(index), built.problem.cells
    station = station_of(offer.deployment, planned_curve(offer.deployment))
    units = np.maximum(solution.units[index, periods], 1.0)
    inputs = _column([cell.input_tokens for cell in cells])
    cached = _column([cached_fraction(offer, built.planned_class(j)) for j in range(len(cells))])
    return _Mix(
        station,
        solution.flow[:, index, periods] / units,
        station.lanes * units,
        inputs,
        inputs * (1.0 - cached),
        _column([cell.output_tokens for cell in cells]),
        _column([built.planned_class(j).burstiness for j in range(len(cells))]),
    )


def _column(values: list[float]) -> Array:
    return np.array(values)[:, None]


def _settled(mix: _Mix) -> tuple[Latency, NDArray[np.bool_]]:
    """The mixture's latencies, and in which periods there are any: from an empty replica upwards."""
    prefill = prefill_s(mix.station.curve, mix.input_tokens, mix.fresh_tokens)
    busy = (mix.rate * prefill).sum(axis=0) / mix.station.lanes
    wait = _lane_wait_s(mix, prefill, busy)
    others, tokens = np.zeros(len(busy)), np.zeros(len(busy))
    context = mix.input_tokens + mix.output_tokens / 2.0
    most = mix.station.curve.max_batch
    for _ in range(ROUNDS):
        now = _meeting(mix, prefill + wait, np.minimum(busy, 1.0 - NO_TIME_S), np.minimum(others, most), tokens)
        held = mix.rate * now.e2e_s / mix.station.decoding
        moved = np.abs(held.sum(axis=0) - others)
        others, tokens = np.minimum(held.sum(axis=0), most), (held * context).sum(axis=0)
        if np.all((moved < CLOSE) | (others >= most)):
            break
    return now, (busy < 1.0) & (others < most)


def _lane_wait_s(mix: _Mix, prefill: Array, busy: Array) -> Array:
    """Mean wait for the lane (Pollaczek, Khinchine), with bursts as `queueing` takes them."""
    first, second = (mix.rate * prefill).sum(axis=0), (mix.rate * prefill**2).sum(axis=0)
    service = second / (2.0 * np.maximum(first, NO_TIME_S))
    return mean_wait_s(mix.places, np.minimum(busy, 1.0 - NO_TIME_S), service, mix.burstiness)


def _meeting(mix: _Mix, prefilled_s: Array, busy: Array, others: Array, tokens: Array) -> Latency:
    """Latencies with so many others in the replica, who hold so many tokens of context."""
    station, curve = mix.station, mix.station.curve
    context = mix.input_tokens + mix.output_tokens / 2.0
    step = np.interp(1.0 + others, np.arange(len(curve.step_s)), curve.step_s) + curve.kv_s_per_token * (
        tokens + context
    )
    seen = curve.ttft_overhead_s + curve.ttft_overhead_s_per_token * mix.input_tokens + prefilled_s
    seen = seen + curve.ttft_overhead_s_per_sequence * (1.0 + others)
    if station.apart:
        moved = station.transfer_s + station.transfer_s_per_token * mix.input_tokens
        tpot, ttft = step, seen + moved + (step if curve.serving is Serving.BATCHING else 0.0)
    else:
        tpot = step / (1.0 - busy)
        ttft = seen + (0.5 + np.ceil(mix.fresh_tokens / curve.chunk_tokens)) * step
    return Latency(ttft, tpot, ttft + np.maximum(0.0, mix.output_tokens - 1.0) * tpot)
