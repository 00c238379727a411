"""How a process tells what it does: metrics as text. It knows nothing of the gateway."""

from headrace.telemetry.exposition import Family, Histogram, Labels, Row, render, written
from headrace.telemetry.process import process_families

__all__ = ["Family", "Histogram", "Labels", "Row", "process_families", "render", "written"]
