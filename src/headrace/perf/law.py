"""Which law predicts a chip: decided by its memory, and by the coefficients that its table rows hold."""

from __future__ import annotations

from enum import StrEnum

from headrace.fleet import Accelerator, Memory
from headrace.perf.coefficients import has_coefficient


class Law(StrEnum):
    """How the time of a decode step follows from model, chip and count."""

    ROOFLINE = "roofline"  # external memory, continuous batching: bytes and FLOPs
    SRAM = "sram"  # weights on chip: latency per layer and per chip boundary
    NEURON = "neuron"  # external memory, a graph compiled for a fixed batch
    RDU = "rdu"  # external memory, layers fused on a reconfigurable dataflow unit


def speed_law(chip: Accelerator) -> Law:
    """The law that holds for `chip`, or for the chip that it is as fast as."""
    if chip.memory is Memory.SRAM:
        return Law.SRAM
    if has_coefficient(chip, "cores_per_accelerator"):
        return Law.NEURON
    return Law.RDU if has_coefficient(chip, "expert_s") else Law.ROOFLINE


def declares_speculation(chip: Accelerator) -> bool:
    """Whether a deployment on this chip may declare its draft; elsewhere it is known as measured only."""
    return speed_law(chip) in (Law.ROOFLINE, Law.SRAM)


def speculates(chip: Accelerator) -> bool:
    """Whether the table knows what speculative decoding brings on this chip."""
    return any(has_coefficient(chip, name) for name in ("speculation_gain", "acceptance", "tokens_per_pass"))
