"""Validation: what the speed model predicts against what was measured, section by section.

Imports numpy and scipy, so it is imported late: by the command that runs it, and by nothing that starts a server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headrace.bench.validation.fleets import fleets_section
from headrace.bench.validation.gpu import gpu_section
from headrace.bench.validation.neuron import neuron_section
from headrace.bench.validation.requests import requests_section
from headrace.bench.validation.score import Row, Score, Section, Subject, score_of
from headrace.bench.validation.sram import sram_section

MEASURED = "measured"

SECTIONS: dict[str, Callable[[Path], Section]] = {
    "gpu": gpu_section,
    "sram": lambda measured: sram_section(),
    "neuron": neuron_section,
    "fleets": fleets_section,
    "requests": requests_section,
}


def validate(name: str, data: Path) -> Section:
    """One section of `SECTIONS`.

    Args:
        data: the folder that holds `measured/`.

    Raises:
        ConfigError: a table that the section needs is not there.
    """
    return SECTIONS[name](data / MEASURED)


__all__ = ["SECTIONS", "Row", "Score", "Section", "Subject", "score_of", "validate"]
