"""Measured serving points of GPUs, with the layout that each was measured in.

The table comes from two exporters that write a layout in different ways, and for most disaggregated points the layout
is not written at all. What is known is used as it is; what is not is taken from the nearest documented point, and the
point counts as *imputed*: its noise is estimated apart. Each rule below undoes one habit of an exporter.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import ConfigError, Fault
from headrace.fleet import Deployment, catalog
from headrace.perf.continuous import Load, Split
from headrace.perf.continuous.parameters import Keys, model_key

FILE = "gpu_serving_points.csv"
SYSTEMS = {
    "h100_sxm": "H100",
    "h200_sxm": "H200",
    "b200_sxm": "B200",
    "b300_sxm": "B300",
    "gb200": "GB200",
    "gb300": "GB300",
}
BITS = {"bf16": 16, "": 16, "fp8": 8, "fp4": 4, "nvfp4": 4, "mxfp4": 4}
WIDEST_NODE = 8
RACK_WIDTHS = (1, 72, 36, 28, 20, 24, 48, 40, 12, 52, 64, 32)  # of gb200 runs whose column is the total of all workers
Raw = dict[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model lay over chips: of one decode (or mixed) replica, and of the prefill replicas beside it.

    Attributes:
        imputed: 0 written down, 1 a documented twin of the same measurement, 2 a documented run of the same workload,
            3 the nearest documented one.
    """

    count: int
    ranks: int
    expert_parallel: bool
    replicas: int = 1
    prefill_count: int = 1
    prefill_ranks: int = 1
    prefill_replicas: int = 1
    imputed: int = 0


@dataclass(frozen=True, slots=True)
class GpuPoint:
    """One measured point: what was asked, what came, and where it belongs.

    Attributes:
        measurement: points with one number are one measurement under several names.
        speculative: the model ships a draft head, and the table does not say whether it was used.
    """

    deployment: Deployment
    load: Load
    split: Split | None
    keys: Keys
    tpot_s: float
    ttft_s: float
    measurement: int
    imputed: int
    speculative: bool


def gpu_points(measured: Path) -> list[GpuPoint]:
    """Every point of the table whose concurrency is known.

    Raises:
        ConfigError: the table is not there.
    """
    try:
        with open(measured / FILE, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["concurrency"]]
    except OSError as error:
        raise ConfigError("measurements", [Fault(str(measured / FILE), f"cannot be read: {error.strerror}")]) from None
    known = [row for row in rows if _is_documented(row)]
    twins: dict[tuple[str, ...], int] = {}
    return [_point(row, known, twins) for row in rows]


def _point(row: Raw, known: Sequence[Raw], twins: dict[tuple[str, ...], int]) -> GpuPoint:
    mode, row = _unmask(row)
    layout = _mixed(row) if mode == "agg" else _disaggregated(row, known)
    model = catalog.find_model(row["model"])
    bits = BITS[row["precision"]]
    deployment = Deployment(
        row["id"],
        model,
        catalog.accelerator(SYSTEMS[row["system"]]),
        layout.count,
        None if model.native_weight_bits == 4 else bits,  # such a checkpoint is served as it is, whatever the label
        software=row["backend"],
        attention_ranks=layout.ranks,
        expert_parallel=layout.expert_parallel,
    )
    split = Split(layout.replicas, layout.prefill_replicas, layout.prefill_count, layout.prefill_ranks)
    same = tuple(row[k] for k in ("system", "isl", "osl", "concurrency", "ttft_ms", "tpot_ms"))
    load = Load(int(row["isl"]), int(row["osl"]), float(row["concurrency"]))
    kind = "mixed" if mode == "agg" else "split"
    return GpuPoint(
        deployment,
        load,
        None if mode == "agg" else split,
        Keys(
            *(SYSTEMS[row["system"]], row["backend"], str(bits), model_key(deployment), kind),
            *(row["origin"], _version(row["backend_version"])),
        ),
        tpot_s=float(row["tpot_ms"]) / 1000.0,
        ttft_s=float(row["ttft_ms"]) / 1000.0,
        measurement=twins.setdefault(same, len(twins)),
        imputed=layout.imputed,
        speculative=bool(model.mtp_layers),
    )


def _version(text: str) -> str:
    return re.sub(r"[^0-9.].*", "", text or "none") or (text or "none")[:12]


def _unmask(row: Raw) -> tuple[str, Raw]:
    """A gb200 point that is wider than a node and says `agg` is a disaggregated run with all its chips in `tp`."""
    total = row["origin"] == "inferencex" and row["system"].startswith("gb") and _number(row, "tp") > WIDEST_NODE
    if row["mode"] != "agg" or not total:
        return row["mode"], row
    width = row["tp"]
    masked = {"prefill_workers": "", "prefill_tp": width, "decode_tp": width, "decode_ep": "1", "total": "1"}
    return "disagg", {**row, **masked}


def _number(row: Raw, column: str) -> int:
    """A width: one where the table has none, or 0."""
    return int(float(row.get(column) or 1)) or 1


def _is_documented(row: Raw) -> bool:
    return row["mode"] == "disagg" and bool(row["prefill_workers"]) and "DeepSeek" in row["model"]


def _mixed(row: Raw) -> Layout:
    """Layout of a replica that mixes prefill and decode."""
    tp, dp = _number(row, "tp"), _number(row, "dp")
    moe_tp, moe_ep = _number(row, "moe_tp"), _number(row, "moe_ep")
    exported = row["origin"] == "inferencex"
    if exported and moe_tp > 1 and moe_ep > 1:  # one writes all chips as moe_tp, and again as moe_ep
        return Layout(moe_tp, moe_tp if dp > 1 else 1, moe_ep > 1)
    if exported and tp > 1 and dp > 1:  # and all chips as tp, and again as dp
        return Layout(tp, tp, True)
    count = max(tp * dp, moe_tp * moe_ep)
    ranks = dp if dp > 1 else max(1, count // tp)
    return Layout(count, ranks, moe_ep > 1)


def _documented(row: Raw, imputed: int) -> Layout:
    return Layout(
        count=_number(row, "decode_tp") * _number(row, "decode_dp"),
        ranks=_number(row, "decode_dp"),
        expert_parallel=_number(row, "decode_ep") > 1,
        replicas=_number(row, "decode_workers"),
        prefill_count=_number(row, "prefill_tp") * _number(row, "prefill_dp"),
        prefill_ranks=_number(row, "prefill_dp"),
        prefill_replicas=_number(row, "prefill_workers"),
        imputed=imputed,
    )


def _disaggregated(row: Raw, known: Sequence[Raw]) -> Layout:
    """Layout of a run with prefill apart: written, or of its twin, or of the nearest run that is documented."""
    if row["prefill_workers"]:
        return _documented(row, 0)
    if "DeepSeek" not in row["model"]:
        width = _number(row, "decode_tp")
        return Layout(width, 1, _number(row, "decode_ep") > 1, prefill_count=_number(row, "prefill_tp"), imputed=3)
    same = ("system", "isl", "osl", "concurrency", "ttft_ms", "tpot_ms")
    twin = next((other for other in known if all(other[k] == row[k] for k in same)), None)
    if twin is not None:
        return _documented(twin, 1)
    return _nearest(row, known)


def _nearest(row: Raw, known: Sequence[Raw]) -> Layout:
    total = "total" in row or (
        row["id"].startswith("2026_04_06")
        and row["decode_tp"] == row["prefill_tp"]
        and _number(row, "decode_tp") in RACK_WIDTHS
        and row["system"].startswith("gb")
    )
    best = min(known, key=lambda other: _distance(row, other, total))
    alike = ("system", "backend", "precision", "isl", "osl", "concurrency")
    exact = all(best[k] == row[k] for k in alike)
    found = _documented(best, 2 if exact else 3)
    if total or exact:
        return found
    width = _number(row, "decode_tp")
    return Layout(
        *(width, width if found.ranks > 1 else 1, found.expert_parallel, found.replicas),
        *(found.prefill_count, found.prefill_ranks, found.prefill_replicas, found.imputed),
    )


def _distance(row: Raw, other: Raw, total: bool) -> float:
    """How unlike two runs are: load first, then chip, software and precision, then their widths."""
    gap = abs(math.log(float(row["concurrency"]) / float(other["concurrency"])))
    for column, weight in (("isl", 1.5), ("osl", 1.0), ("system", 1.0), ("backend", 1.0), ("precision", 0.7)):
        gap += weight * (row[column] != other[column])
    gap += 2.0 * (row["system"].startswith("h") != other["system"].startswith("h"))  # Hopper beside Blackwell
    width = _number(row, "decode_tp")
    if total:
        return gap + 2.0 * abs(math.log(width / _number(other, "gpus"))) if width > 1 else gap
    size = _number(other, "decode_tp") * _number(other, "decode_dp")
    prefill = _number(other, "prefill_tp") * _number(other, "prefill_dp")
    return gap + 3.0 * abs(math.log(width / size)) + 0.7 * abs(math.log(_number(row, "prefill_tp") / prefill))
