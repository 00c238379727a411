"""Section `fleets`: mixed AMD fleets of MLPerf Inference v5.1 against the sum of their nodes, `perf.scale_out`.

The one parameter, `node_efficiency`, comes from rows of equal nodes: 16 MI325X over twice what 8 reach, Offline. No row
of a mixed fleet was used.
"""

from __future__ import annotations

from pathlib import Path

from headrace.bench.validation.score import Row, Section, Subject, scores
from headrace.bench.validation.tables import read_table
from headrace.fleet import catalog
from headrace.perf.scale_out import fleet_rate

NAME = "fleets"
MODEL = "Llama-2-70B"
BIG, SMALL = "MI325X", "MI300X"
MIXED = {"16x MI325X + 8x MI300X (mixed)": (2, 1), "32x MI300X + 16x MI325X (mixed)": (2, 4)}
SCENARIOS = ("Offline", "Server")
NODE_CHIPS = 8

Rates = dict[tuple[str, int, str], float]


def mlperf_rates(measured: Path) -> Rates:
    """Tokens/s of every Llama-2-70B row of MLPerf, by (system, chips, scenario)."""
    return {
        (row["system"], int(row["chips"]), row["scenario"]): float(row["tokens_per_s"])
        for row in read_table(measured / "published_throughput.csv")
        if "MLPerf" in row["source"] and row["model"] == MODEL and row["chips"]
    }


def fitted_node_efficiency(rates: Rates) -> float:
    """Two nodes of MI325X over twice one of them, Offline."""
    return rates[(BIG, 2 * NODE_CHIPS, "Offline")] / (2.0 * rates[(BIG, NODE_CHIPS, "Offline")])


def fleets_section(measured: Path) -> Section:
    """Both mixed fleets in both scenarios; none of these rows was fitted."""
    rates = mlperf_rates(measured)
    rows = [_row(rates, system, scenario) for system in MIXED for scenario in SCENARIOS]
    return Section(NAME, "tokens/s of mixed fleets", 1, 2, scores(rows), rows)


def _row(rates: Rates, system: str, scenario: str) -> Row:
    big, small = MIXED[system]
    counted = ((BIG, big), (SMALL, small))
    nodes = [
        (catalog.accelerator(name), rates[(name, NODE_CHIPS, scenario)])
        for name, count in counted
        for _ in range(count)
    ]
    chips = NODE_CHIPS * len(nodes)
    estimate = fleet_rate(nodes)
    measured = rates[(system, chips, scenario)]
    label, subject = (
        f"{system} {scenario}",
        Subject("tokens/s", f"{BIG} + {SMALL}", MODEL, "MLPerf v5.1", f"{system} {scenario}"),
    )
    return Row("AMD", label, "never fitted", estimate.value, measured, estimate.low, estimate.high, subject)
