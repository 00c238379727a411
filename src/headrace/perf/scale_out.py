"""Several nodes behind one queue: what they serve together, against the sum of what each serves alone."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.fleet import Accelerator
from headrace.perf.coefficients import coefficient
from headrace.perf.estimate import Estimate, sources


def fleet_rate(nodes: Sequence[tuple[Accelerator, float]], unit: str = "tokens/s") -> Estimate:
    """Rate of several nodes together: the sum of their own rates, times `node_efficiency` if there is more than one.

    One factor holds for equal and for mixed nodes, whatever their number; of several accelerators the least is taken.

    Args:
        nodes: each node's accelerator and the rate that it reaches alone, in `unit`.

    Raises:
        ModelRangeError: several nodes, and one of them has an accelerator of which no such factor is known.
    """
    total = sum(rate for _, rate in nodes)
    if len(nodes) < 2:
        return Estimate(total, total, total, unit, "one node", "")
    row = min((coefficient(chip, "node_efficiency") for chip, _ in nodes), key=lambda each: each.value)
    return Estimate(total * row.value, total * row.low, total * row.high, unit, "scale-out", sources([row]))
