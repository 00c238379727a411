"""Mélange's formulation as a test oracle, and instances on which it and the planner answer the same question.

Mélange (Griggs et al. 2024, arXiv 2404.14527, section 5) takes requests by buckets of input and output length and GPU
types with a price and, for each bucket, the largest throughput within the SLO. Each bucket's demand is cut into
`SLICES` equal slices, each slice goes to one type, and types come in whole numbers:

    minimise    sum over g of price[g] * B[g]
    subject to  sum over g of n[b, g] = SLICES                                 n whole: slices of bucket b on type g
                sum over b of n[b, g] * rate[b] / SLICES / throughput[b, g] <= B[g],   B whole

The slices of a bucket are alike, so that they are counted here instead of numbered: the same plans, without the
symmetry that would make the program slower to prove.

Throughputs are those of `perf` for one model on the accelerators of the catalog under an SLO, perturbed by a seed.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sparse

from headrace.fleet import Deployment, catalog
from headrace.perf import serve_many
from headrace.plan.problem import Candidate, Cell, Period, Problem, Use

SLICES = 8
MODEL, TPOT_S, TTFT_S = "llama-3.1-8b", 0.04, 2.0
CLIENTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
INPUTS = (25, 100, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000)  # tokens; the paper's buckets, in ten steps
OUTPUTS = (25, 50, 100, 150, 250, 400, 600, 1000, 1500, 2000)
TYPES = (
    *("A100", "H100", "H200", "B200", "B300", "GB200", "GB300", "MI300X"),
    *("MI325X", "MI355X", "TPU v5p", "TPU v6e", "TPU7x", "Trainium1", "Trainium2", "Inferentia2"),
)


@dataclass(frozen=True, slots=True)
class Instance:
    """Rates in requests/s by bucket, throughputs likewise by (bucket, type), prices in USD per hour by type."""

    rate: np.ndarray
    throughput: np.ndarray
    price: np.ndarray


def instance(seed: int, types: int, rate_per_s: float) -> Instance:
    """10 x 10 buckets, some types of the catalog, speeds and prices up to a third off."""
    rng = np.random.default_rng([seed, types, round(rate_per_s)])
    chosen = np.sort(rng.choice(len(TYPES), types, replace=False))
    throughput = catalog_throughput()[:, chosen] * rng.lognormal(0.0, 0.2, (100, types))
    price = np.array([catalog.accelerator(TYPES[n]).price_usd_per_h or 0.0 for n in chosen]) * rng.uniform(
        0.75, 1.33, types
    )
    shape = rng.gamma(0.5, 1.0, 100)  # uneven, as length histograms are
    shape[throughput.max(axis=1) <= 0.0] = 0.0
    return Instance(shape / shape.sum() * rate_per_s, throughput, price)


@functools.cache
def catalog_throughput() -> np.ndarray:
    """Largest requests/s within the SLO, by (bucket, type); 0 where a type cannot keep it."""
    inputs, outputs = (axis.ravel() for axis in np.meshgrid(INPUTS, OUTPUTS, indexing="ij"))
    best = np.zeros((len(inputs), len(TYPES)))
    for number, name in enumerate(TYPES):
        place = Deployment(name, catalog.model(MODEL), catalog.accelerator(name), 1, software="vllm")
        for clients in CLIENTS:
            served = serve_many(
                place, inputs.astype(float), outputs.astype(float), np.full(len(inputs), float(clients))
            )
            within = (served.tpot_s <= TPOT_S) & (served.ttft_s <= TTFT_S)
            rate = clients / (served.ttft_s + (outputs - 1) * served.tpot_s)
            best[:, number] = np.maximum(best[:, number], np.where(within, rate, 0.0))
    return best


def as_problem(given: Instance) -> Problem:
    """The same question to the planner: one period of an hour, on demand, nothing else asked."""
    cells = tuple(Cell("all", str(n), 1.0, 1.0, (rate,)) for n, rate in enumerate(given.rate.tolist()))
    candidates = tuple(
        Candidate(
            f"g{n}",
            *("v", "gpu", "site"),
            uses={
                b: Use(1.0 / speed, 0.0, 0.0, 0.0, 0.0)
                for b, speed in enumerate(given.throughput[:, n].tolist())
                if speed > 0.0
            },
            usd_per_unit_hour=(price,),
        )
        for n, price in enumerate(given.price.tolist())
    )
    return Problem((Period("hour", 0, 1.0),), ("all",), cells, candidates)


@dataclass(frozen=True, slots=True)
class Answer:
    """USD per hour (infinite: none found); `proven`: to the solver's gap."""

    usd: float
    proven: bool


def melange_usd(given: Instance, limit_s: float = 600.0, gap: float = 1e-6, threads: int = 1) -> Answer:
    """Solve Mélange's integer program."""
    buckets, types = np.nonzero((given.rate[:, None] > 0.0) & (given.throughput > 0.0))
    flows, count = len(buckets), len(given.price)
    load = given.rate[buckets] / SLICES / given.throughput[buckets, types]
    own = np.flatnonzero(given.rate > 0.0)
    each = sparse.csr_array(
        (np.ones(flows), (np.searchsorted(own, buckets), np.arange(flows))), shape=(len(own), flows)
    )
    loads = sparse.csr_array((load, (types, np.arange(flows))), shape=(count, flows))
    matrix = sparse.csc_array(sparse.block_array([[each, None], [loads, -sparse.eye_array(count)]]))
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = flows + count, len(own) + count
    program.col_cost_ = np.concatenate([np.zeros(flows), given.price])
    program.col_lower_ = np.zeros(flows + count)
    program.col_upper_ = np.concatenate([np.full(flows, float(SLICES)), np.full(count, math.inf)])
    program.row_lower_ = np.concatenate([np.full(len(own), float(SLICES)), np.full(count, -math.inf)])
    program.row_upper_ = np.concatenate([np.full(len(own), float(SLICES)), np.zeros(count)])
    program.integrality_ = [highspy.HighsVarType.kInteger] * (flows + count)
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_ = matrix.indptr, matrix.indices
    program.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()
    solver.silent()
    solver.resetGlobalScheduler(True)  # else the threads are those of the process's first solve
    for option, value in (("time_limit", limit_s), ("mip_rel_gap", gap), ("threads", threads)):
        assert solver.setOptionValue(option, value) == highspy.HighsStatus.kOk
    solver.passModel(program)
    solver.run()
    ended = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
    assert solver.getModelStatus() in ended, solver.getModelStatus()
    found = solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    proven = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return Answer(solver.getInfo().objective_function_value if found else math.inf, proven)
