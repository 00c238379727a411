"""Deployments: a model on a count of accelerators, or a service known by what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.fleet.accelerator import Accelerator
from headrace.fleet.calibration import Calibration
from headrace.fleet.model import Model


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Observed speed of a service, independent of load.

    TTFT = `ttft_s` + input tokens / `input_tokens_per_s`; TPOT = `tpot_s`.

    Attributes:
        batch: sequences that share one decode step; a token's share of the work is `tpot_s / batch`.
    """

    ttft_s: float
    input_tokens_per_s: float
    tpot_s: float
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """Model x accelerator x count: the unit whose speed is predicted.

    Its speed comes from `calibrated` (fitted to a probe) if that is set, from `observed` (measured from outside, and
    then without an accelerator), or from the speed model of its `accelerator`.

    Attributes:
        count: accelerators of one replica, all of them used together.
        weight_bits: precision of the bulk of the weights as deployed.
        max_batch: most sequences decoded together.
    """

    name: str
    model: Model
    accelerator: Accelerator | None = None
    count: int = 1
    weight_bits: int | None = None
    max_batch: int = 128
    observed: OperatingPoint | None = None
    calibrated: Calibration | None = None
