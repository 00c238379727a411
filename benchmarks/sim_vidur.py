"""Headrace's simulator beside Vidur: the same trace, the same model, the same replicas, CPU time of the event loops.

    make bench-vidur        (or: python benchmarks/sim_vidur.py --replicas 1,4,8)

Vidur (MLSys 2024, package `vidur`) walks through every iteration of every replica in Python and looks each operator up
in what a random forest predicted; Headrace jumps from one change of the batch to the next, in closed form. Vidur's
profiles are not in its package, so both are given the same speeds: the speed curve of Llama-3.1-8B on one H100 is
written as a profile in Vidur's format, the step as one operator, and its forests learn it. Median TTFT and TPOT of both
are printed, for a fast answer to another question would be worth nothing. Reading, training and reports are left out on
both sides.

What differs in favour of Vidur: it routes to the replica with the fewest requests, while Headrace runs its whole policy
engine (prices, prediction of lengths, queues, metrics).
"""

from __future__ import annotations

import csv
import json
import lzma
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.perf import SpeedCurve, speed_curve
from headrace.sim import simulate
from headrace.workload import CHAT, ClassTraffic, Request, generate
from peer import interpreter

PACKAGE = "vidur==0.0.26"
MODEL, CHIP = "llama-3.1-8b", "H100"
ARCHITECTURE = {"n_embd": 4096, "n_kv_head": 8, "num_tensor_parallel_workers": 1}
LAYERS = 32
MLP = {"n_head": 32, "n_expanded_embd": 14336, "use_gated_mlp": True, "vocab_size": 128256}
FREE = ("attn_pre_proj", "attn_post_proj", "mlp_down_proj", "mlp_act", "input_layernorm", "attn_rope", "add",
        "post_attention_layernorm")  # fmt: skip
LONGEST = 4096
LOAD = 0.6  # part of the replicas' prefill and decode time that the trace asks for, about
MS = 1e3

console = Console()


def main(
    replicas: Annotated[str, typer.Option(help="Numbers of replicas, comma-separated.")] = "1,4,8",
    requests: Annotated[int, typer.Option(help="Requests for each replica.")] = 500,
    slots: Annotated[int, typer.Option(help="Sequences decoded together on a replica, at most.")] = 64,
) -> None:
    """Print requests per CPU second of both, and the ratio."""
    python = interpreter(PACKAGE)
    table = Table(title=f"{MODEL} on {CHIP}: generated chat, requests per CPU second")
    for head in ("replicas", "requests", "Vidur", "Headrace", "ratio", "median TTFT, ms", "median TPOT, ms"):
        table.add_column(head, justify="right")
    for count in map(int, replicas.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            theirs, ours = compared(python, Path(folder), count, requests * count, slots)
        speeds = [each["requests"] / each["cpu_s"] for each in (theirs, ours)]
        ttft, tpot = ([f"{each[name] * MS:.1f}" for each in (theirs, ours)] for name in ("ttft_s", "tpot_s"))
        table.add_row(
            str(count),
            f"{ours['requests']:,.0f}",
            *(f"{speed:,.0f}" for speed in speeds),
            f"{speeds[1] / speeds[0]:.0f}x",
            " / ".join(ttft),
            " / ".join(tpot),
        )
    console.print(table)


def compared(python: Path, folder: Path, replicas: int, requests: int, slots: int) -> tuple[dict[str, Any], ...]:
    """Both simulators over one workload; Vidur in a process of its own."""
    fleet = fleet_of(folder, replicas, slots)
    curve = speed_curve(fleet.pools["gpu"].deployment)
    trace = trace_of(curve, replicas, requests)
    write_trace(folder / "trace.csv", trace)
    write_profiles(folder, curve, slots)
    worker = Path(__file__).with_name("vidur_worker.py")
    command = [str(python), "-P", str(worker), str(folder), str(replicas), str(slots), str(curve.chunk_tokens)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    started_s = time.process_time()
    result = simulate(fleet, iter(trace))
    cpu_s = time.process_time() - started_s
    found = result.metrics.classes["chat"]
    latency = {"ttft_s": found.ttft.quantile(0.5), "tpot_s": found.tpot.quantile(0.5)}
    return theirs, {"cpu_s": cpu_s, "requests": len(trace), **latency}


def fleet_of(folder: Path, replicas: int, slots: int) -> Fleet:
    """One pool of as many single accelerators."""
    backends = ", ".join(f'{{ name = "gpu-{k}", url = "http://127.0.0.1:{9000 + k}", max_in_flight = 100000 }}'
                         for k in range(replicas))  # fmt: skip
    text = f"""
        schema = 1
        [models."{MODEL}"]
        [deployments.one]
        model = "{MODEL}"
        accelerator = "{CHIP}"
        count = 1
        max_batch = {slots}
        [pools.gpu]
        deployment = "one"
        price = {{ type = "hourly", usd_per_accelerator_hour = 2.0, electricity_usd_per_kwh = 0.08, pue = 1.2 }}
        backends = [{backends}]
        [classes.chat]
        value_of_time_usd_per_s = 0.0003
        [[routes]]
        pools = ["gpu"]
    """
    path = folder / "fleet.toml"
    path.write_text(text)
    return load_fleet(path)


def trace_of(curve: SpeedCurve, replicas: int, requests: int) -> list[Request]:
    """Generated chat, no longer than Vidur's model takes, at `LOAD` of what the replicas could do."""
    drawn = [each for each in generate([ClassTraffic("chat", CHAT, 10.0)], requests / 5.0, 0)
             if each.input_tokens + each.output_tokens <= LONGEST][:requests]  # fmt: skip
    work_s = sum(
        each.input_tokens * curve.prefill_s_per_token + each.output_tokens * curve.step_s[-1] / curve.max_batch
        for each in drawn
    )
    stretch = work_s / (LOAD * replicas * drawn[-1].arrival_s)
    return [replace(each, arrival_s=each.arrival_s * stretch) for each in drawn]


def write_trace(path: Path, trace: Sequence[Request]) -> None:
    """A trace in Vidur's columns."""
    rows = [(each.arrival_s, each.input_tokens, each.output_tokens, "headrace") for each in trace]
    write(path, ("Time", "PromptTokenCount", "CompletionTokenCount", "Date"), rows)


def write_profiles(folder: Path, curve: SpeedCurve, slots: int) -> None:
    """The speed curve as operator times of a layer, milliseconds: steps in `mlp_up_proj`, the context in attention."""
    tokens = [*range(1, 129), *range(136, 1025, 8), *range(1056, LONGEST * 2 + 1, 32)]
    times = [{"num_tokens": n, "time_stats.mlp_up_proj.median": step_s(curve, n) * MS / LAYERS} for n in tokens]
    free = {f"time_stats.{name}.median": 0.0 for name in FREE}
    write_profile(folder / "compute", "mlp.csv.xz", [ARCHITECTURE | MLP | free | each for each in times])
    contexts = [*range(0, LONGEST * 2 + 1, 256)]
    decode = [(0, context, batch, batch * context * curve.kv_s_per_token) for context in contexts
              for batch in (1, *range(4, slots + 1, 4))]  # fmt: skip
    prefill = [(chunk, context, 1, curve.prefill_s_per_token_squared * (2 * context * chunk + chunk * chunk))
               for context in contexts for chunk in range(32, LONGEST * 2 + 1, 256)]  # fmt: skip
    rows = [
        {"n_embd": 4096, "n_q_head": 32, "n_kv_head": 8, "block_size": 16, "num_tensor_parallel_workers": 1,
         "prefill_chunk_size": chunk, "kv_cache_size": context, "batch_size": batch,
         "time_stats.attn_kv_cache_save.median": 0.0,
         "time_stats.attn_prefill.median": seconds * MS / LAYERS,
         "time_stats.attn_decode.median": seconds * MS / LAYERS}
        for chunk, context, batch, seconds in decode + prefill
    ]  # fmt: skip
    write_profile(folder / "compute", "attention.csv.xz", rows)
    about = {"model": "meta-llama/Llama-3-8B", "device_sku": "h100"}
    (folder / "compute" / "config.json").write_text(json.dumps(about))
    (folder / "network").mkdir()
    (folder / "network" / "config.json").write_text(json.dumps({"sku": "h100_dgx"}))


def step_s(curve: SpeedCurve, tokens: int) -> float:
    """A step with this many tokens: decode up to the slots, prefill beyond them."""
    slots = curve.max_batch
    return curve.step_s[min(tokens, slots)] + max(0, tokens - slots) * curve.prefill_s_per_token


def write_profile(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    with lzma.open(folder / name, "wt") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
