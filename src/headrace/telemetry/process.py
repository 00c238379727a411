"""What the operating system says of processes: CPU, memory, open files, under the names that every exporter uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector

from headrace.telemetry.exposition import Family, Row


def process_families(pids: Mapping[str, int]) -> Iterator[Family]:
    """`process_*` of each of these processes, by the name of its worker; nothing where there is no /proc."""
    found: dict[str, tuple[str, str, list[Row]]] = {}
    for worker, pid in pids.items():
        for name, kind, text, value in _figures(pid):
            found.setdefault(name, (kind, text, []))[2].append(((("worker", worker),), value))
    for name, (kind, text, rows) in found.items():
        yield Family(name, kind, text, rows)


def _figures(pid: int) -> Iterable[tuple[str, str, str, float]]:
    registry = CollectorRegistry(auto_describe=False)
    for metric in ProcessCollector(pid=lambda: pid, registry=registry).collect():
        for sample in metric.samples:
            yield sample.name, metric.type, metric.documentation, sample.value
