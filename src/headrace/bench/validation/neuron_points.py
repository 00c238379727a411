"""Measured points of Inferentia2, Trainium1 and Trainium2 as the Neuron law sees them.

Repeated rows of the latency and throughput tables are dropped. Rows of optimum-neuron that say Inferentia2 and 32 cores
are trn1.32xlarge (inf2.48xlarge has 24): the same core. Rows that name a folder for a model are one replica of
Qwen3-30B with the batch that the folder says; other files with `-dp` in their name ran that many replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headrace.bench.validation.tables import read_table
from headrace.fleet import catalog
from headrace.perf.coefficients import coefficient
from headrace.perf.neuron import NeuronShape, bucket_tokens

CHIPS = {"inferentia2": "Inferentia2", "trainium1": "Trainium1", "trainium2": "Trainium2"}
INF2_CORES = 24
OPTIMUM = "optimum-vllm"
MODELS = {"Mistral-7B-Instruct-v0.2": "mistral-7b", "CodeLlama-13B-hf": "codellama-13b"}
UNNAMED = {"/data_qwen3-moe-bs8": ("qwen3-30b-a3b", 8, 32), "/data_qwen3-moe-bs16": ("qwen3-30b-a3b", 16, 32)}
REPLICAS = {"-dp3": 3, "-dp4": 4}
DEFAULT_CORES = 8
TUTORIAL_TOKENS = (1500.0, 500.0)  # in and out where a row of the tutorials says neither
LONG_WINDOW = 16_384.0  # KV window of the two Llama-3.1-405B rows, assumed
LONG_TOKENS = (10_000.0, 1500.0)  # in and out of them; neither enters their step
DRAFT = "fused draft"


@dataclass(frozen=True, slots=True)
class NeuronPoint:
    """One measured point.

    Attributes:
        software: `transformers-neuronx`, `nxd` or `optimum-vllm`.
        active: requests in flight, at most the compiled batch.
        prefill_stops: each prefill stops all slots, so that every token pays a part of it.
        speculation: a draft model was fused in.
        ttft_s: of one request alone; None where it includes a queue.
    """

    chip: str
    software: str
    shape: NeuronShape
    active: float
    input_tokens: float
    output_tokens: float
    prefill_stops: bool
    speculation: bool
    tpot_s: float
    ttft_s: float | None

    @property
    def architecture(self) -> str:
        """Models of one shape, whatever their name: left out together."""
        model = self.shape.model
        return f"{model.layers}x{model.hidden_size}x{model.experts}"

    @property
    def label(self) -> str:
        """What the point is, for people."""
        shape = self.shape
        return f"{shape.model.name} on {shape.cores} cores, {shape.slots} slots, {self.software}"


def neuron_points(measured: Path) -> list[NeuronPoint]:
    """Every point of the three tables in `measured`.

    Raises:
        ConfigError: a table is not there.
    """
    return [*_aws(measured), *_tutorial(measured), *_optimum(measured)]


def _aws(measured: Path) -> list[NeuronPoint]:
    points, seen = [], set()
    for row in read_table(measured / "aws_neuron_points.csv"):
        key = tuple(row[name] for name in ("system", "model", "batch", "isl", "osl", "spec_decode"))
        if key in seen:
            continue
        seen.add(key)
        tokens = float(row["isl"] or TUTORIAL_TOKENS[0]), float(row["osl"] or TUTORIAL_TOKENS[1])
        width = 1.0 if row["weight_dtype"] == "int8" else 2.0
        bucket = bucket_tokens(tokens[0] + tokens[1] / 2)
        shape = _shape(row["system"], row["model"], int(row["tp_cores"]), int(row["batch"]), bucket, width)
        software = "nxd" if row["system"] == "trainium2" else "transformers-neuronx"
        speculation, tpot_s = bool(row["spec_decode"]), float(row["tpot_p50_ms"]) / 1e3
        points.append(
            NeuronPoint(CHIPS[row["system"]], software, shape, shape.slots, *tokens, False, speculation, tpot_s, None)
        )
    return points


def _tutorial(measured: Path) -> list[NeuronPoint]:
    """Llama-3.1-405B on 64 cores; with the draft its weights are FP8."""
    points = []
    for row in read_table(measured / "published_speeds.csv"):
        if row["vendor"] == "AWS" and row["model"] == "Llama-3.1-405B":
            speculation = DRAFT in row["source"]
            shape = _shape("trainium2", row["model"], 64, 1, LONG_WINDOW, 1.0 if speculation else 2.0)
            tpot_s = 1.0 / float(row["tokens_per_s_user"])
            points.append(NeuronPoint("Trainium2", "nxd", shape, 1.0, *LONG_TOKENS, False, speculation, tpot_s, None))
    return points


def _optimum(measured: Path) -> list[NeuronPoint]:
    points = []
    for row in read_table(measured / "optimum_neuron_vllm.csv"):
        named = row["model"], int(row["batch"]), int(row["tp_cores"] or DEFAULT_CORES)
        model, slots, cores = UNNAMED.get(row["model"], named)
        system = "trainium1" if row["system"] == "inferentia2" and cores > INF2_CORES else row["system"]
        tokens = float(row["isl"]), float(row["osl"])
        least = coefficient(catalog.accelerator(CHIPS[system]), "kv_bucket_min_tokens").value
        bucket = max(least, bucket_tokens(sum(tokens)))
        shape = _shape(system, model, cores, slots, bucket, 2.0, "cpu-sampling" in row["file"])
        marked = next((count for mark, count in REPLICAS.items() if mark in row["file"]), 1)
        replicas = 1 if row["model"] in UNNAMED else marked
        active = max(1.0, min(slots, float(row["req_s"]) * float(row["latency_s"]) / replicas))
        ttft_s = float(row["ttft_ms"]) / 1e3 if row["load"] == "synchronous" else None
        points.append(
            NeuronPoint(CHIPS[system], OPTIMUM, shape, active, *tokens, True, False, float(row["itl_ms"]) / 1e3, ttft_s)
        )
    return points


def _shape(
    system: str, model: str, cores: int, slots: int, bucket: float, width: float, host_sampling: bool = False
) -> NeuronShape:
    chip = catalog.accelerator(CHIPS[system])
    per_chip = coefficient(chip, "cores_per_accelerator").value
    return NeuronShape(
        model=catalog.find_model(MODELS.get(model, model)),
        cores=cores,
        accelerators=cores / per_chip,
        memory_bandwidth_bytes_per_s=chip.memory_bandwidth_bytes_per_s or 0.0,
        flops=chip.flops_bf16 or 0.0,
        weight_bytes_per_parameter=width,
        slots=slots,
        bucket_tokens=bucket,
        host_sampling=host_sampling,
    )
