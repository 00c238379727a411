"""Generated traffic by the name of a workload class: what stands in where no trace is given."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from headrace.errors import ConfigError, Fault
from headrace.workload.generate import AGENT, CHAT, CODING, ClassTraffic, Traffic, generate
from headrace.workload.request import Request

GENERATED: dict[str, Traffic] = {"coding": CODING, "chat": CHAT, "agent": AGENT}


def generate_named(classes: Collection[str], duration_s: float, seed: int, scale: float = 1.0) -> Iterator[Request]:
    """Traffic of every class that has a generator, over [0, duration_s).

    Args:
        scale: multiplies the mean rate of each.

    Raises:
        ConfigError: none of the classes has a generator.
    """
    found = [ClassTraffic(name, GENERATED[name], scale) for name in classes if name in GENERATED]
    if not found:
        known, asked = ", ".join(GENERATED), ", ".join(classes) or "none"
        message = f"traffic can be generated for {known}; the fleet has {asked}: give --trace CLASS=PATH"
        raise ConfigError("generated traffic", [Fault("classes", message)])
    return generate(found, duration_s, seed)
