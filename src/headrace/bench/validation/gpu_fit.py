"""The hierarchical fit: shared parameters, and factors of groups that are shrunk towards 1.

Every logarithm of a parameter is a shared value plus the deviations of the groups that a point is in; every logarithm
of a prediction gets the deviations of the point's model on its chip. All of them are unknowns u with Gaussian priors:

    minimise   sum of w (log measured - log predicted)^2 / sigma^2  +  sum of (u / prior spread)^2

by Gauss-Newton with Student-t weights w (a gross error counts little), sigma estimated per class of noise on the way.
The derivative is numeric in the parameters of a point and exact in the grouping, so that a fit takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from headrace.bench.validation.gpu_points import GpuPoint
from headrace.perf.continuous import EFFECTS, PARAMETERS, Points, levels_of, points_of, serve
from headrace.perf.continuous.parameters import OUTPUTS, SHARED, Fitted

Array = NDArray[np.float64]
Index = NDArray[np.intp]

OVERLOAD_S = 20.0  # a TTFT beyond this is a server whose limits lie below the offered load
OVERLOAD_WEIGHT = 0.15
NOISE_CLASSES = 4  # mixed; mixed with a draft head; disaggregated; disaggregated, nearest layout
START_SIGMA = (0.15, 0.35)
LEAST_SIGMA = 0.03
FREEDOM = 4.0  # of the Student-t weights
ITERATIONS = 12
STEP = 1e-4
LARGEST_STEP = 0.5
NORMAL_80 = 1.2816
COVER = 0.82  # quantile of left-out residuals that the interval is set to: they are a little optimistic


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of the unknowns of one (parameter or output, group)."""

    name: str
    group: str
    first: int
    count: int
    spread: float


@dataclass(frozen=True)
class Design:
    """Measured points, ready to be fitted.

    Attributes:
        codes: level of every point in every group, as an index into `names`.
        measured: logarithms of TPOT and TTFT, (2, n); `weight`: of each, (2, n).
        noise: class of each point.
    """

    points: Points
    names: dict[str, list[str]]
    codes: dict[str, Index]
    measured: Array
    weight: Array
    noise: Index

    def take(self, index: Index) -> Design:
        """The points at these places, with every level kept."""
        codes = {group: code[index] for group, code in self.codes.items()}
        return Design(
            *(self.points.take(index), self.names, codes),
            *(self.measured[:, index], self.weight[:, index], self.noise[index]),
        )


@dataclass(frozen=True)
class Fit:
    """Fitted unknowns with their covariance; `sigma` and `stretch` are (output, noise class)."""

    blocks: list[Block]
    values: Array
    covariance: Array
    sigma: Array
    stretch: Array

    @property
    def free(self) -> int:
        """Unknowns, shrunk ones included."""
        return len(self.values)

    @property
    def effective(self) -> float:
        """Unknowns that the data moved: the sum of 1 - posterior variance / prior variance."""
        variance = np.diag(self.covariance)
        parts = [1.0 - variance[b.first : b.first + b.count] / b.spread**2 for b in self.blocks]
        return float(np.concatenate(parts).sum())


def make_design(measured: Sequence[GpuPoint]) -> Design:
    """Points as arrays, with their places in the groups."""
    levels = levels_of([point.keys for point in measured])
    names = {group: sorted(set(of)) for group, of in levels.items()}
    places = {group: {name: i for i, name in enumerate(of)} for group, of in names.items()}
    codes = {group: np.array([places[group][level] for level in of]) for group, of in levels.items()}
    ttft_s = np.array([point.ttft_s for point in measured])
    weight = np.ones((2, len(measured)))
    weight[1] = np.where(ttft_s < OVERLOAD_S, 1.0, OVERLOAD_WEIGHT)
    return Design(
        points_of([(point.deployment, point.load, point.split) for point in measured]),
        names,
        codes,
        np.log(np.stack([np.array([point.tpot_s for point in measured]), ttft_s])),
        weight,
        np.array([_noise_class(point) for point in measured]),
    )


def _noise_class(point: GpuPoint) -> int:
    if point.split is None:
        return 1 if point.speculative else 0
    return 2 if point.imputed < 3 else 3


def fit(design: Design, train: Index) -> Fit:
    """Fit the points at `train`."""
    seen = design.take(train)
    blocks = _blocks(seen)
    size = blocks[-1].first + blocks[-1].count
    precision = np.concatenate([np.full(block.count, block.spread**-2.0) for block in blocks])
    values, covariance = np.zeros(size), np.eye(size)
    sigma = np.tile(np.array(START_SIGMA)[:, None], (1, NOISE_CLASSES))
    for iteration in range(ITERATIONS):
        predicted, slopes = _linearized(seen, blocks, values)
        residual = seen.measured - predicted
        normal, right = _normal_equations(seen, sigma, residual, slopes, values)
        normal[np.diag_indices_from(normal)] += precision
        factor = cho_factor(normal)
        step = np.clip(cho_solve(factor, right) - values, -LARGEST_STEP, LARGEST_STEP)
        values = values + (1.0 if iteration > 2 else 0.7) * step
        if iteration >= 3:
            sigma = _sigma(seen, residual, sigma)
            covariance = cho_solve(factor, np.eye(size))
    return Fit(blocks, values, covariance, sigma, _stretch(seen, blocks, values, covariance, sigma))


def predict(design: Design, index: Index, found: Fit) -> tuple[Array, Array]:
    """Logarithms of TPOT and TTFT, and the half-width of their 80 % interval, both (2, m)."""
    asked = design.take(index)
    predicted, slopes = _linearized(asked, found.blocks, found.values)
    noise = (found.stretch * found.sigma)[:, asked.noise]
    return predicted, np.sqrt(noise**2 + (NORMAL_80 * _spread(slopes, found.covariance)) ** 2)


def table_of(design: Design, found: Fit) -> Fitted:
    """The fit as the table that predictions use; its interval widths are set by whoever judged it."""
    shared: dict[str, float] = {}
    factors: dict[tuple[str, str], dict[str, float]] = {}
    for block in found.blocks:
        values = np.exp(found.values[block.first : block.first + block.count])
        if block.group == SHARED:
            shared[block.name] = PARAMETERS[block.name].prior * float(values[0])
        else:
            names = design.names[block.group]
            seen = set(np.unique(design.codes[block.group]))
            factors[block.name, block.group] = {names[i]: float(v) for i, v in enumerate(values) if i in seen}
    return Fitted(shared, factors, {})


def _blocks(design: Design) -> list[Block]:
    """The unknowns: shared parameters, then how groups move them, then effects on the outputs."""
    wanted: list[tuple[str, str, int, float]] = []
    for name, parameter in PARAMETERS.items():
        wanted.append((name, SHARED, 1, parameter.spread))
        wanted += [(name, group, len(design.names[group]), spread) for group, spread in parameter.moves.items()]
    for output, groups in EFFECTS.items():
        wanted += [(output, group, len(design.names[group]), spread) for group, spread in groups.items()]
    blocks, first = [], 0
    for name, group, count, spread in wanted:
        blocks.append(Block(name, group, first, count, spread))
        first += count
    return blocks


def _columns(design: Design, block: Block) -> Index:
    """Column of this block's unknown that holds for each point."""
    if block.group == SHARED:
        return np.full(len(design.points), block.first)
    return block.first + design.codes[block.group]


def _log_theta(design: Design, blocks: Sequence[Block], values: Array) -> tuple[dict[str, Array], Array]:
    count = len(design.points)
    theta = {name: np.full(count, np.log(parameter.prior)) for name, parameter in PARAMETERS.items()}
    shift = np.zeros((2, count))
    for block in blocks:
        deviation = values[_columns(design, block)]
        if block.name in theta:
            theta[block.name] += deviation
        else:
            shift[OUTPUTS.index(block.name)] += deviation
    return theta, shift


def _log_served(points: Points, theta: dict[str, Array]) -> Array:
    served = serve(points, theta)
    return np.log(np.stack([served.tpot_s, served.ttft_s]))


def _linearized(design: Design, blocks: Sequence[Block], values: Array) -> tuple[Array, NDArray[np.float32]]:
    """Predictions (2, n), and their derivative by every unknown (2, n, unknowns)."""
    logs, shift = _log_theta(design, blocks, values)
    theta = {name: np.exp(value) for name, value in logs.items()}
    base = _log_served(design.points, theta)
    by_name = {
        name: (_log_served(design.points, {**theta, name: theta[name] * np.exp(STEP)}) - base) / STEP for name in theta
    }
    last = blocks[-1]
    slopes = np.zeros((2, base.shape[1], last.first + last.count), dtype=np.float32)
    rows = np.arange(base.shape[1])
    for block in blocks:
        columns = _columns(design, block)
        if block.name in by_name:
            slopes[:, rows, columns] = by_name[block.name]
        else:
            slopes[OUTPUTS.index(block.name), rows, columns] = 1.0
    return base + shift, slopes


def _student(z: Array) -> Array:
    return np.asarray((FREEDOM + 1.0) / (FREEDOM + z * z))


def _normal_equations(
    design: Design, sigma: Array, residual: Array, slopes: NDArray[np.float32], values: Array
) -> tuple[Array, Array]:
    size = slopes.shape[2]
    normal, right = np.zeros((size, size)), np.zeros(size)
    scale = sigma[:, design.noise]
    weight = _student(residual / scale) / scale**2 * design.weight
    for output in range(2):
        weighted = slopes[output] * weight[output][:, None].astype(np.float32)
        normal += weighted.T @ slopes[output]
        right += weighted.T @ (residual[output] + slopes[output] @ values.astype(np.float32))
    return normal, right


def _sigma(design: Design, residual: Array, sigma: Array) -> Array:
    """Spread of the residuals of each class, gross errors counting little."""
    found = sigma.copy()
    for output, noise in np.ndindex(*sigma.shape):
        chosen = (design.noise == noise) & (design.weight[output] == 1.0)
        if chosen.sum() >= 10:
            z = residual[output][chosen]
            mean = float(np.mean(_student(z / sigma[output, noise]) * z * z))
            found[output, noise] = max(LEAST_SIGMA, mean**0.5)
    return found


def _spread(slopes: NDArray[np.float32], covariance: Array) -> Array:
    """Standard deviation of each prediction by that of the unknowns, (2, n)."""
    small = covariance.astype(np.float32)
    variance = [np.einsum("ij,ij->i", by @ small, by) for by in slopes]
    return np.asarray(np.sqrt(np.maximum(0.0, np.stack(variance))), dtype=float)


def _stretch(design: Design, blocks: Sequence[Block], values: Array, covariance: Array, sigma: Array) -> Array:
    """By how much the noise of each class is to be widened so that the interval holds 80 % of left-out residuals.

    A residual left out is the residual / (1 - leverage): what it would be, had the fit not seen the point.
    """
    predicted, slopes = _linearized(design, blocks, values)
    residual, scale = design.measured - predicted, sigma[:, design.noise]
    spread = _spread(slopes, covariance)
    leverage = np.minimum(0.9, _student(residual / scale) / scale**2 * spread**2)
    left_out = residual / (1.0 - leverage)
    rest = np.sqrt(np.maximum(0.0, left_out**2 - (NORMAL_80 * spread) ** 2)) / scale
    stretch = np.full(sigma.shape, 1.533)  # the 80 % quantile of Student's t with four degrees of freedom
    for output, noise in np.ndindex(*sigma.shape):
        chosen = (design.noise == noise) & (design.weight[output] == 1.0)
        if chosen.sum() >= 30:
            stretch[output, noise] = float(np.quantile(rest[output][chosen], COVER))
    return stretch
