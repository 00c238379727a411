"""Which law predicts a chip, and whether one can: by its memory, its figures and the rows that tables have of it."""

from __future__ import annotations

from enum import StrEnum

from headrace.fleet import Accelerator, Memory
from headrace.perf.coefficients import has_coefficient, has_coefficients
from headrace.perf.continuous import flops_of


class Law(StrEnum):
    """How the time of a decode step follows from model, chip and count."""

    CONTINUOUS = "continuous"  # external memory, continuous batching: bytes, FLOPs and latencies
    SRAM = "sram"  # weights on chip: latency per layer and per chip boundary
    NEURON = "neuron"  # external memory, a graph compiled for a fixed batch
    RDU = "rdu"  # external memory, layers fused on a reconfigurable dataflow unit


def speed_law(chip: Accelerator) -> Law:
    """The law that holds for `chip`, or for the chip that it is as fast as."""
    if chip.memory is Memory.SRAM:
        return Law.SRAM
    if has_coefficient(chip, "cores_per_accelerator"):
        return Law.NEURON
    return Law.RDU if has_coefficient(chip, "expert_s") else Law.CONTINUOUS


def is_predictable(chip: Accelerator) -> bool:
    """Whether the speed of this accelerator can be predicted.

    Continuous batching needs its bandwidth and one FLOP/s figure: what nobody measured has the shared parameters and a
    wide interval. The other laws need coefficients of the chip, or of the one that it is as fast as.
    """
    if speed_law(chip) is Law.CONTINUOUS:
        return chip.memory_bandwidth_bytes_per_s is not None and flops_of(chip, 16) is not None
    return has_coefficients(chip)


def declares_speculation(chip: Accelerator) -> bool:
    """Whether a deployment on this chip may declare its draft; elsewhere it is known as measured only."""
    return speed_law(chip) in (Law.CONTINUOUS, Law.SRAM)


def speculates(chip: Accelerator) -> bool:
    """Whether the table knows what speculative decoding brings on this chip."""
    return any(has_coefficient(chip, name) for name in ("speculation_gain", "acceptance", "tokens_per_pass"))
