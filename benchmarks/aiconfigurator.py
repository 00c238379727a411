"""Headrace's predictions beside those of PyPI's `aiconfigurator`, on measured points that both can predict.

    python benchmarks/aiconfigurator.py --data ../shared/data/measured > table.md

aiconfigurator predicts in an environment of its own: `--python` names an interpreter that has it, else one is made
under `out/`. It is asked the way that its own regression test asks (the quantisation that the row states, the newest
database where that of the row's version is gone), with the chips and ranks that the row really had; where it refuses,
it is asked again with other names for the same precision. Headrace is judged on rows that its fit has not seen: the
row's model left out, and the unseen half.

What it does not show: rows that aiconfigurator refuses (they are counted), and disaggregated serving.
"""

from __future__ import annotations

import csv
import json
import platform
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from headrace.bench.validation.gpu import left_out, unseen_half
from headrace.bench.validation.gpu_fit import OVERLOAD_S, make_design
from headrace.bench.validation.gpu_points import FILE, GpuPoint, gpu_points
from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf import serve_many
from headrace.perf.continuous import Load, served_estimates
from headrace.perf.continuous.parameters import GENERATIONS
from peer import interpreter

PACKAGE = "aiconfigurator==0.12.0"
WORKER = Path(__file__).with_name("aiconfigurator_worker.py")
# The same architectures under names whose configuration the package carries: it needs no network then.
SAME = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
    "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
}
OTHER_NAMES = {"fp8": (("fp8_block", "fp8_block"), ("fp8", "fp8_block"), ("fp8", "fp8"))}
MXFP4_ON_BLACKWELL = "w4a8_mxfp4_mxfp8"  # how TensorRT-LLM runs mxfp4 experts there; the default is meant for Hopper
AIC, AIC_KV8 = "aiconfigurator", "aiconfigurator, 8-bit KV cache where it can"
MODEL, HALF = "Headrace, row's model left out", "Headrace, unseen half"
TIMED_ROWS, TIMED_CALLS, TIMED_LOADS = 12, 5, 200
MANY = 200_000
SINGLE = 300
Answer = dict[str, Any]
Question = tuple[Deployment, Load, None]
Array = np.ndarray[Any, np.dtype[np.float64]]
console = Console(stderr=True)


@dataclass(frozen=True)
class Asked:
    """One measured point, and what aiconfigurator is asked for it."""

    point: GpuPoint
    row: dict[str, str]
    place: int  # among all points

    @property
    def strata(self) -> tuple[str, str]:
        return self.point.keys.system, self.point.deployment.model.name


class Worker:
    """aiconfigurator in its own process."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [str(python), "-I", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, answers: int = 1, **command: object) -> Iterator[dict[str, Any]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        for _ in range(answers):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("aiconfigurator's process ended; does its Python import aiconfigurator?")
            yield json.loads(line)


def mixed_points(measured: Path, points: Sequence[GpuPoint]) -> list[Asked]:
    """Aggregated points, one for each distinct measurement, with their rows of the table."""
    with open(measured / FILE, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["concurrency"]]
    found: dict[int, Asked] = {}
    for place, (point, row) in enumerate(zip(points, rows, strict=True)):
        if point.split is None:
            found.setdefault(point.measurement, Asked(point, row, place))
    return list(found.values())


def arguments(asked: Asked, kv_bits: int | None) -> list[dict[str, Any]]:
    """Of `cli_estimate`: as the row says, then under other names of the same precision."""
    point, row = asked.point, asked.row
    place, model = point.deployment, point.deployment.model
    width = place.count // place.attention_ranks
    base: dict[str, Any] = {
        "model_path": SAME.get(row["model"], row["model"]),
        "system_name": row["system"],
        "mode": "agg",
        "backend_name": row["backend"],
        "isl": point.load.input_tokens,
        "osl": point.load.output_tokens,
        "batch_size": max(1, round(point.load.concurrency / place.attention_ranks)),
        "tp_size": width,
        "attention_dp_size": place.attention_ranks,
    }
    if model.experts > 1:
        moe = tuple(int(row[name] or 1) for name in ("moe_tp", "moe_ep"))
        if moe[0] * moe[1] != place.count or row["origin"] == "inferencex":  # see gpu_points: not what is written
            moe = (1, place.count) if place.expert_parallel else (place.count, 1)
        base |= {"moe_tp_size": moe[0], "moe_ep_size": moe[1]}
    eight = {"kvcache_quant_mode": "fp8"} if place.weight_bits != 16 else {}
    if kv_bits == 8:
        base |= eight
    if model.native_weight_bits == 4:  # its checkpoint is served as it is, whatever the label says
        widened = row["backend"] == "trtllm" and GENERATIONS[point.keys.system] == "blackwell"
        tries = [{**base, "moe_quant_mode": MXFP4_ON_BLACKWELL}, base] if widened else [base]
    else:
        stated = row["gemm_quant"] or None, row["moe_quant"] or None
        names = dict.fromkeys((stated, *OTHER_NAMES.get(row["precision"], ())))
        tries = [{**base, "gemm_quant_mode": gemm, "moe_quant_mode": moe} for gemm, moe in names]
    return [*tries, {**tries[0], **eight}] if eight and kv_bits is None else tries


def ask_all(worker: Worker, asked: Sequence[Asked]) -> list[Answer]:
    rows = [{"id": k, "tries": arguments(each, None)} for k, each in enumerate(asked)]
    answers = worker.ask(len(rows), kind="predict", rows=rows)
    return list(track(answers, "aiconfigurator", total=len(rows), console=console))


def ask_kv8(worker: Worker, asked: Sequence[Asked], answers: Sequence[Answer]) -> list[Answer]:
    """With a KV cache of eight bits where weights have eight or fewer and it has data: the table does not say."""
    wide = [k for k, each in enumerate(asked) if each.point.deployment.weight_bits != 16 and not has_kv8(answers[k])]
    rows = [{"id": i, "tries": arguments(asked[k], 8)} for i, k in enumerate(wide)]
    found = list(answers)
    for answer in track(
        worker.ask(len(rows), kind="predict", rows=rows), "8-bit KV cache", total=len(rows), console=console
    ):
        if "refused" not in answer:
            found[wide[answer["id"]]] = answer
    return found


def has_kv8(answer: Answer) -> bool:
    return bool(answer.get("quant", "").endswith("/fp8"))


def sample(asked: Sequence[Asked], predicted: Sequence[int], rows: int, seed: int) -> list[int]:
    """Rows spread over system x model as evenly as they allow."""
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k in predicted:
        strata[asked[k].strata].append(k)
    drawn = [list(rng.permutation(strata[name])) for name in sorted(strata)]
    chosen: list[int] = []
    while len(chosen) < rows and any(drawn):
        for each in [drawn[i] for i in rng.permutation(len(drawn))]:
            if each and len(chosen) < rows:
                chosen.append(int(each.pop()))
    return sorted(chosen)


def reason(text: str) -> str:
    """A refusal without what is special to its row."""
    quant = re.search(r'quant: "(\w+)"', text)
    short = re.sub(r"'[^']*'|\([^)]*\)", "*", re.split(r" \{|\. |\n", text)[0])
    return f"{short} of {quant[1]}" if quant else short


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    lines = [header, ["---"] * words + ["---:"] * (len(header) - words), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


class Errors:
    """Relative errors of every way to predict, (rows, 2: TPOT and TTFT); NaN where it does not judge the row."""

    def __init__(self, asked: Sequence[Asked], ways: dict[str, Array]) -> None:
        self.asked, self.ways = asked, ways
        measured = np.array([[each.point.tpot_s, each.point.ttft_s] for each in asked])
        self.judged = np.stack([np.ones(len(asked), dtype=bool), measured[:, 1] < OVERLOAD_S], axis=1)
        self.errors = {name: found / measured - 1.0 for name, found in ways.items()}

    def cells(self, way: str, rows: Sequence[int]) -> list[str]:
        """n, median, mean, mean logarithm and bias of TPOT, then of TTFT below the overload."""
        cells = []
        for output in range(2):
            kept = [k for k in rows if self.judged[k, output] and np.isfinite(self.errors[way][k, output])]
            errors = self.errors[way][kept, output]
            size = np.abs(errors)
            cells.append(str(len(kept)))
            figures = (
                (np.median(size), np.mean(size), np.mean(np.abs(np.log1p(errors))), np.median(errors)) if kept else ()
            )
            cells += [f"{100 * figure:{sign}.1f}" for figure, sign in zip(figures, ("", "", "", "+"), strict=False)]
            cells += ["–"] * (4 - len(figures))
        return cells

    def closer(self, way: str, other: str, rows: Sequence[int]) -> list[str]:
        """Share of rows on which one way is closer than the other, in TPOT and TTFT."""
        shares = []
        for output in range(2):
            kept = [k for k in rows if self.judged[k, output] and np.isfinite(self.errors[way][k, output])]
            ratio = [np.abs(np.log1p(self.errors[name][kept, output])) for name in (way, other)]
            shares.append(f"{100 * np.mean(ratio[0] < ratio[1]):.0f} %")
        return shares


HEADER = [f"{output}{name}" for output in ("TPOT ", "TTFT ") for name in ("n", "median", "mean", "mean log", "bias")]


def overall(errors: Errors, rows: Sequence[int], ways: Sequence[str]) -> str:
    return markdown(["predicted by", *HEADER], [[way, *errors.cells(way, rows)] for way in ways])


def by(errors: Errors, rows: Sequence[int], group: Callable[[Asked], str]) -> str:
    lines = []
    groups: dict[str, list[int]] = defaultdict(list)
    for k in rows:
        groups[group(errors.asked[k])].append(k)
    header = ["", "n"]
    for output in ("TPOT", "TTFT"):
        header += [f"{output} {way}" for way in ("aiconfigurator", "model left out", "unseen half")]
    for name in sorted(groups):
        here = [errors.cells(way, groups[name]) for way in (AIC, MODEL, HALF)]
        pairs = [[f"{cells[first]} / {cells[first + 1]}" for cells in here] for first in (1, 6)]
        lines.append([name, len(groups[name]), *pairs[0], *pairs[1]])
    return markdown(header, lines)


def accepted(asked: Sequence[Asked]) -> tuple[dict[int, Question], Counter[str]]:
    """What Headrace is willing to predict, and why it refuses the rest."""
    found: dict[int, Question] = {}
    refused: Counter[str] = Counter()
    for k, each in enumerate(asked):
        question: Question = (each.point.deployment, each.point.load, None)
        try:
            served_estimates([question])
        except ModelRangeError as error:
            refused["the weights do not fit" if "do not fit" in str(error) else "longer than the model's context"] += 1
        else:
            found[k] = question
    return found, refused


def headrace_s(questions: Sequence[Question]) -> tuple[float, float, float]:
    """CPU seconds an estimate: one at a time, a list at once, and many loads of one deployment as arrays."""
    few = questions[:SINGLE]
    single_s = cpu_s(lambda: [served_estimates([question]) for question in few]) / len(few)
    list_s = cpu_s(lambda: served_estimates(questions)) / len(questions)
    rng = np.random.default_rng(1)
    loads = [rng.integers(1, high, MANY).astype(float) for high in (8000, 2000, 256)]
    place = questions[0][0]
    serve_many(place, *(load[:10] for load in loads))
    return single_s, list_s, cpu_s(lambda: serve_many(place, *loads)) / MANY


def cpu_s(call: Callable[[], object]) -> float:
    started_s = time.process_time()
    call()
    return time.process_time() - started_s


def aiconfigurator_s(worker: Worker, asked: Sequence[Asked], answers: Sequence[Answer], seed: int) -> list[float]:
    """Median CPU seconds a prediction over a few rows: documented call, version given, session kept."""
    rng = np.random.default_rng(seed)
    taken = []
    for k in rng.permutation(len(asked))[:TIMED_ROWS]:
        loads = [
            [int(rng.integers(64, 8000)), int(rng.integers(16, 2000)), int(rng.integers(1, 256))]
            for _ in range(TIMED_LOADS)
        ]
        row = {"tries": arguments(asked[k], None)}
        command = {"row": row, "place": answers[k]["try"], "calls": TIMED_CALLS, "loads": loads}
        taken += list(worker.ask(kind="time", **command))
    return [float(np.median([each[name] for each in taken])) for name in ("documented_s", "given_s", "session_s")]


def times(theirs: Sequence[float], ours: Sequence[float]) -> str:
    def shown(seconds: float) -> str:
        return f"{seconds * 1e6:,.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.2f} ms"

    return markdown(
        ["question", "aiconfigurator", "Headrace", "ratio"],
        [
            [
                "one point of any deployment: `cli_estimate` as documented; `served_estimates` of one",
                *(shown(theirs[0]), shown(ours[0]), f"{theirs[0] / ours[0]:,.0f}"),
            ],
            [
                "the same, database version given; `served_estimates` of one",
                *(shown(theirs[1]), shown(ours[0]), f"{theirs[1] / ours[0]:,.0f}"),
            ],
            [
                "many deployments: the same; `served_estimates` of a list",
                *(shown(theirs[1]), shown(ours[1]), f"{theirs[1] / ours[1]:,.0f}"),
            ],
            [
                "many loads of one deployment: `run_agg` of a session that is kept; `serve_many`",
                *(shown(theirs[2]), shown(ours[2]), f"{theirs[2] / ours[2]:,.0f}"),
            ],
        ],
    )


def main(
    data: Annotated[Path, typer.Option(help="Directory with gpu_serving_points.csv.")] = Path(
        "../shared/data/measured"
    ),
    python: Annotated[Path | None, typer.Option(help="Interpreter that has aiconfigurator; else one is made.")] = None,
    rows: Annotated[int, typer.Option(help="Rows of the sample that is spread over system x model.")] = 240,
    seed: Annotated[int, typer.Option()] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Every row with its predictions, as JSON.")] = None,
) -> None:
    """Print the comparison as Markdown."""
    points = gpu_points(data)
    every = mixed_points(data, points)
    worker = Worker(python or interpreter(PACKAGE))
    about = next(worker.ask(kind="about"))
    answers = ask_all(worker, every)
    answers_kv8 = ask_kv8(worker, every, answers)
    questions, our_refusals = accepted(every)
    theirs = [k for k, answer in enumerate(answers) if "refused" not in answer]
    both = [k for k in theirs if k in questions]
    theirs_s = aiconfigurator_s(worker, [every[k] for k in both], [answers[k] for k in both], seed)

    with console.status("fitting Headrace without each model, and without the unseen half"):
        design = make_design(points)
        without_model = left_out(points, design, lambda point: point.keys.model)
        half = unseen_half(points, design)
    place = {int(k): i for i, k in enumerate(half.index)}
    ways = {name: np.full((len(every), 2), np.nan) for name in (AIC, AIC_KV8, MODEL, HALF)}
    for k, each in enumerate(every):
        ways[MODEL][k] = np.exp(without_model.predicted[:, each.place])
        if each.place in place:
            ways[HALF][k] = np.exp(half.predicted[:, place[each.place]])
        for name, answer in ((AIC, answers[k]), (AIC_KV8, answers_kv8[k])):
            if "refused" not in answer:
                ways[name][k] = answer["tpot_ms"] / 1e3, answer["ttft_ms"] / 1e3
    if json_path is not None:
        json_path.write_text(json.dumps(rows_of(every, answers, ways)))
    errors = Errors(every, ways)
    chosen = sample(every, both, rows, seed)
    print(report(errors, about, answers, chosen, both))
    print("### Refusals of Headrace\n")
    print(our_refused(errors, theirs, our_refusals) if our_refusals else "None.\n")
    print("### Time per prediction, warm\n\nCPU time of one thread.\n")
    print(times(theirs_s, headrace_s(list(questions.values()))))


def our_refused(errors: Errors, theirs: Sequence[int], refusals: Counter[str]) -> str:
    """Why Headrace refuses, and the errors on every row that aiconfigurator predicts."""
    title = f"All {len(theirs)} rows that aiconfigurator predicts, with those that Headrace refuses:\n"
    return "\n".join(
        [markdown(["reason", "rows"], refusals.most_common()), title, overall(errors, theirs, (AIC, AIC_KV8, MODEL))]
    )


def rows_of(asked: Sequence[Asked], answers: Sequence[Answer], ways: dict[str, Array]) -> list[dict[str, object]]:
    """Every row: what was measured, what each way predicts (TPOT and TTFT in seconds), and what aiconfigurator said."""
    return [
        {
            "id": each.point.deployment.name,
            "measured": [each.point.tpot_s, each.point.ttft_s],
            "predicted": {name: found[k].tolist() for name, found in ways.items() if np.isfinite(found[k, 0])},
            "answer": answers[k],
        }
        for k, each in enumerate(asked)
    ]


def report(errors: Errors, about: Answer, answers: Sequence[Answer], chosen: Sequence[int], both: Sequence[int]) -> str:
    refused = [k for k, answer in enumerate(answers) if "refused" in answer]
    seen = {HALF: [k for k in range(len(answers)) if np.isfinite(errors.ways[HALF][k, 0])]}
    of_half = set(seen[HALF])
    parts = [
        f"{date.today()}; aiconfigurator {about['version']} on Python {about['python']}, Headrace on Python "
        f"{platform.python_version()}. {len(answers)} distinct aggregated measurements; aiconfigurator refuses "
        f"{len(refused)}, and {len(both)} are predicted by both. Sample: {len(chosen)} rows over "
        f"{len({errors.asked[k].strata for k in chosen})} pairs of system and model. TTFT is judged below "
        f"{OVERLOAD_S:.0f} s.\n"
    ]
    for title, rows in ((f"Stratified sample, {len(chosen)} rows", chosen), (f"All {len(both)} rows", both)):
        here = [k for k in rows if k in of_half]
        held = [k for k in rows if not answers[k]["over_capacity"]]
        parts += [f"### {title}\n", overall(errors, rows, (AIC, AIC_KV8, MODEL))]
        parts.append(
            "Closer than aiconfigurator, TPOT and TTFT: " + " and ".join(errors.closer(MODEL, AIC, rows)) + ".\n"
        )
        parts += [
            f"Of these, the {len(here)} of the unseen half:\n",
            overall(errors, here, (AIC, AIC_KV8, MODEL, HALF)),
        ]
        parts.append(
            "Closer than aiconfigurator, TPOT and TTFT: " + " and ".join(errors.closer(HALF, AIC, here)) + ".\n"
        )
        parts += [
            f"Without the {len(rows) - len(held)} rows that aiconfigurator warns about (more requests than its KV "
            "cache holds):\n",
            overall(errors, held, (AIC, MODEL)),
        ]
    parts.append("### By system and by model\n\nMedian / mean absolute error in %, all rows that both predict.\n")
    parts.append(by(errors, both, lambda each: each.point.keys.system))
    parts.append(by(errors, both, lambda each: each.point.deployment.model.name))
    parts.append("The stratified sample:\n")
    parts.append(by(errors, chosen, lambda each: each.point.keys.system))
    parts.append(by(errors, chosen, lambda each: each.point.deployment.model.name))
    reasons = Counter(reason(answers[k]["refused"]) for k in refused)
    parts.append("### Refusals of aiconfigurator\n")
    parts.append(markdown(["reason (`*`: a name or a number of the row)", "rows"], reasons.most_common()))
    where = Counter(errors.asked[k].strata for k in refused)
    parts.append(markdown(["system", "model", "rows"], [[*name, n] for name, n in where.most_common()], words=2))
    again = Counter(answers[k]["try"] for k in both)
    parts.append(
        f"Answered at the first asking {again[0]}, under another name of the precision {len(both) - again[0]}.\n"
    )
    databases = Counter((errors.asked[k].row["backend"], answers[k]["database"]) for k in both)
    named = ", ".join(f"{software} {version} ({n})" for (software, version), n in sorted(databases.items()))
    parts.append(f"Databases used: {named}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    typer.run(main)
