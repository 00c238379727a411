"""The traffic that a plan expects as trace files, so that what was planned can be replayed and simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headrace.study.plan.make import Made
from headrace.study.plan.traffic import models_asked
from headrace.traces import MOONCAKE_BLOCK_TOKENS, mooncake_line


@dataclass(frozen=True, slots=True)
class WrittenTrace:
    """A class's trace.

    Attributes:
        models: that its requests ask for; the file does not say which asks for which.
    """

    workload_class: str
    path: Path
    requests: int
    models: list[str]


def write_traffic(made: Made, folder: Path, duration_s: float) -> list[WrittenTrace]:
    """Write `folder/CLASS.jsonl`, in Mooncake's format, for each class that asks for something."""
    lines: dict[str, list[bytes]] = {}
    for request in made.traffic(duration_s, MOONCAKE_BLOCK_TOKENS):
        lines.setdefault(request.workload_class, []).append(mooncake_line(request))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, own in lines.items():
        path = folder / f"{name}.jsonl"
        path.write_bytes(b"".join(own))
        written.append(WrittenTrace(name, path, len(own), models_asked(made.built, made.solution, name, made.shown)))
    return written
