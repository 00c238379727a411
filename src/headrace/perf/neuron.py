"""Neuron speed: Inferentia2 and Trainium, where a compiler fixes the shape of a decode step.

The graph is compiled for a **fixed batch**, `max_batch` slots: an idle server steps as slowly as a full one. KV is read
in **buckets**, powers of two of the context, for every slot, by every core; where cores outnumber KV heads, the heads
are replicated. Experts are gathered **token by token**, and prefill computes **all** experts.

    step    = W / (n BW u) + L (t_layer + t_hop log2 c) + S C kv / (BW_core u_kv) + L_moe S k (t_expert + e / (n BW u))
    prefill = 2 P T' / (n F u_p) + L_moe E t_expert_prefill (1 + log2 c)
    speculating, a step checks d drafted tokens and yields E[tokens] = (1 - a^(d+1)) / (1 - a)

n accelerators of c cores in all, S slots, C bucket, W bytes that every step reads, e bytes of an expert, P parameters
that prefill computes, T' input padded to its bucket, a the chance that a drafted token is accepted.

**What a `SpeedCurve` holds of this.** Its step is linear in the context tokens held, and a bucket is a staircase.
`step_s` is therefore the step at the smallest bucket, constant in the batch, and each context token adds its own KV
read on top. For a full batch of equal contexts that line lies between half and twice the staircase, never beyond; for a
batch that is not full it leaves out what idle slots read beyond the smallest bucket. Input is padded by the mean of a
bucket over its content, 1 / ln 2. `decode_step_s` and `prefill_s` have the staircases.

Source: benchmark tables of aws-neuron/aws-neuron-sdk and huggingface/optimum-neuron; the coefficient rows say more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, log2

from headrace.fleet import Attention, Deployment, Model
from headrace.perf.coefficients import Coefficient, coefficient, coefficients_of
from headrace.perf.estimate import Estimate, largest, sources
from headrace.perf.memory import require_accelerator
from headrace.perf.speculation import tabled
from headrace.perf.speculation import tokens_per_pass as _tokens_per_pass

BITS_PER_BYTE = 8
KV_BYTES = 2
SMALLEST_BUCKET_TOKENS = 128
MEAN_PADDING = 1 / log(2)  # mean of bucket / tokens where tokens spread evenly on a logarithmic scale
LEAST_ALWAYS_READ = 0.05  # of the active parameters: a guard for figures that do not add up
STEP_ROWS = ("memory_efficiency", "kv_memory_efficiency", "layer_s", "core_hop_s", "expert_s", "host_sampling_s")
PREFILL_ROWS = ("prefill_compute_efficiency", "expert_prefill_s")
DRAFT_ROWS = ("acceptance", "draft_parameters", "draft_layers", "draft_tokens")


@dataclass(frozen=True, slots=True)
class NeuronLaw:
    """The coefficients of one chip.

    Attributes:
        memory_efficiency, kv_memory_efficiency: bandwidth reached, of the peak; of a core's part for KV.
        layer_s: seconds per layer and step besides its bytes.
        core_hop_s: seconds per layer, step and doubling of the cores: its collectives.
        expert_s: seconds per expert applied to a token, besides its bytes.
        host_sampling_s: seconds per slot where logits are sampled on the host.
        prefill_compute_efficiency: FLOP/s reached in prefill, of the peak.
        expert_prefill_s: seconds per expert, layer and prefill, times 1 + log2(cores).
    """

    memory_efficiency: float
    kv_memory_efficiency: float
    layer_s: float
    core_hop_s: float
    expert_s: float
    host_sampling_s: float
    prefill_compute_efficiency: float
    expert_prefill_s: float


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft model: `tokens` drafted per step, each accepted with chance `acceptance`."""

    acceptance: float
    parameters: float
    layers: float
    tokens: float


@dataclass(frozen=True, slots=True)
class NeuronShape:
    """What a graph was compiled for.

    Attributes:
        cores: all of them together, as the compiler counts.
        accelerators: chips that those cores are.
        memory_bandwidth_bytes_per_s, flops: of one accelerator.
        weight_bytes_per_parameter: 2 for bf16.
        slots: compiled batch.
        bucket_tokens: context of which the KV is read, per slot.
        host_sampling: logits go to the host.
    """

    model: Model
    cores: int
    accelerators: float
    memory_bandwidth_bytes_per_s: float
    flops: float
    weight_bytes_per_parameter: float
    slots: int
    bucket_tokens: float
    host_sampling: bool = False

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Of all accelerators together."""
        return self.accelerators * self.memory_bandwidth_bytes_per_s

    @property
    def core_bandwidth_bytes_per_s(self) -> float:
        """A core's part of it."""
        return self.bandwidth_bytes_per_s / self.cores


def bucket_tokens(tokens: float) -> float:
    """The least power of two that holds `tokens`, at least 128."""
    return float(2 ** ceil(log2(max(tokens, SMALLEST_BUCKET_TOKENS))))


def kv_bytes_per_core(model: Model, cores: int) -> float:
    """KV bytes of a token that each of `cores` reads, all layers: heads are divided and, past one each, replicated."""
    layers = model.layers - model.linear_attention_layers
    if model.attention is Attention.MLA:
        return float(layers * ((model.kv_lora_rank or 0) + (model.rope_head_size or 0)) * KV_BYTES)
    return 2.0 * layers * max(1.0, model.kv_heads / cores) * model.head_size * KV_BYTES


def expert_parameters(model: Model) -> float:
    """Parameters of one routed expert of one layer; 0 for a dense model."""
    if model.moe_layers == 0:
        return 0.0
    if model.expert_ffn_size is None:
        return model.parameters * model.expert_weight_fraction / (model.moe_layers * model.experts)
    return float(model.ffn_matrices * model.hidden_size * model.expert_ffn_size)


def routed_parameters(model: Model) -> float:
    """Parameters of all routed experts."""
    return model.moe_layers * model.experts * expert_parameters(model)


def always_read_parameters(model: Model) -> float:
    """Parameters that each step reads whatever the routing: all but routed experts and the input embedding."""
    embedding = 0 if model.tied_embeddings else model.vocabulary * model.hidden_size
    return max(model.parameters - routed_parameters(model) - embedding, LEAST_ALWAYS_READ * model.active_parameters)


def step_parts(shape: NeuronShape, law: NeuronLaw) -> dict[str, float]:
    """Seconds of one decode step of all slots by what they are spent on; they add up."""
    model, slots = shape.model, shape.slots
    weights_rate = shape.bandwidth_bytes_per_s * law.memory_efficiency
    expert_bytes = expert_parameters(model) * shape.weight_bytes_per_parameter
    kv_rate = shape.core_bandwidth_bytes_per_s * law.kv_memory_efficiency
    return {
        "weight reads": always_read_parameters(model) * shape.weight_bytes_per_parameter / weights_rate,
        "layer latency": model.layers * (law.layer_s + law.core_hop_s * log2(shape.cores)),
        "KV reads": slots * shape.bucket_tokens * kv_bytes_per_core(model, shape.cores) / kv_rate,
        "expert gathers": model.moe_layers
        * slots
        * model.active_experts
        * (law.expert_s + expert_bytes / weights_rate),
        "host": slots * law.host_sampling_s if shape.host_sampling else 0.0,
    }


def step_s(shape: NeuronShape, law: NeuronLaw) -> float:
    """Seconds of one decode step: the sum of `step_parts`."""
    return sum(step_parts(shape, law).values())


def prefill_parts(shape: NeuronShape, law: NeuronLaw) -> tuple[float, float]:
    """(fixed seconds, seconds per padded token) of one prefill: every expert runs on every token."""
    computed = always_read_parameters(shape.model) + routed_parameters(shape.model)
    rate = shape.accelerators * shape.flops * law.prefill_compute_efficiency
    experts = shape.model.moe_layers * shape.model.experts
    return experts * law.expert_prefill_s * (1.0 + log2(shape.cores)), 2.0 * computed / rate


def prefill_s(shape: NeuronShape, law: NeuronLaw, input_tokens: float) -> float:
    """Seconds of the prefill of one input, padded to its bucket; time to first token included."""
    fixed_s, per_token_s = prefill_parts(shape, law)
    return fixed_s + per_token_s * bucket_tokens(input_tokens)


def tokens_per_pass(draft: Draft) -> float:
    """Tokens that a checking pass yields: (1 - a^(d + 1)) / (1 - a)."""
    return _tokens_per_pass(draft.acceptance, draft.tokens)


def speculative_s(shape: NeuronShape, law: NeuronLaw, draft: Draft) -> float:
    """Seconds per token with speculation: (step + d * draft's step) / `tokens_per_pass`."""
    weights_s = draft.parameters * KV_BYTES / (shape.bandwidth_bytes_per_s * law.memory_efficiency)
    draft_s = weights_s + draft.layers * (law.layer_s + law.core_hop_s * log2(shape.cores))
    return (step_s(shape, law) + draft.tokens * draft_s) / tokens_per_pass(draft)


def neuron_law(deployment: Deployment) -> NeuronLaw:
    """The coefficients of the deployment's chip."""
    return NeuronLaw(**{name: row.value for name, row in _rows(deployment, (*STEP_ROWS, *PREFILL_ROWS)).items()})


def neuron_draft(deployment: Deployment) -> Draft | None:
    """The draft model of its speculation; None without."""
    if not tabled(deployment):
        return None
    acceptance, parameters, layers, tokens = (row.value for row in _rows(deployment, DRAFT_ROWS).values())
    return Draft(acceptance, parameters, layers, tokens)


def neuron_shape(deployment: Deployment, context_tokens: float = 0.0) -> NeuronShape:
    """What the deployment's graph is compiled for; KV buckets start at `kv_bucket_min_tokens`."""
    chip, model = require_accelerator(deployment), deployment.model
    cores = deployment.count * round(coefficient(chip, "cores_per_accelerator").value)
    least = coefficient(chip, "kv_bucket_min_tokens").value
    return NeuronShape(
        model=model,
        cores=cores,
        accelerators=float(deployment.count),
        memory_bandwidth_bytes_per_s=chip.memory_bandwidth_bytes_per_s or 0.0,
        flops=chip.flops_bf16 or 0.0,
        weight_bytes_per_parameter=(deployment.weight_bits or model.native_weight_bits) / BITS_PER_BYTE,
        slots=deployment.max_batch,
        bucket_tokens=max(least, bucket_tokens(context_tokens)),
    )


def token_s(deployment: Deployment, context_tokens: float) -> float:
    """Seconds per token of every sequence in flight, however many there are, at the bucket of `context_tokens`."""
    shape, law, draft = neuron_shape(deployment, context_tokens), neuron_law(deployment), neuron_draft(deployment)
    return step_s(shape, law) if draft is None else speculative_s(shape, law, draft)


def kv_s_per_token(deployment: Deployment) -> float:
    """Seconds that one context token of one sequence adds to a step on top of the smallest bucket; see the essay."""
    shape, law, draft = neuron_shape(deployment), neuron_law(deployment), neuron_draft(deployment)
    rate = shape.core_bandwidth_bytes_per_s * law.kv_memory_efficiency
    return kv_bytes_per_core(shape.model, shape.cores) / rate / (1.0 if draft is None else tokens_per_pass(draft))


def neuron_step_s(deployment: Deployment, context_tokens: int) -> Estimate:
    """Seconds of one decode step at `context_tokens`, the same for every batch up to `max_batch`.

    The interval is that of measured over predicted speeds of architectures that the fit had not seen. Past the largest
    batch among them, `batch_measured`, it widens on both sides by max_batch / batch_measured.
    """
    chip = require_accelerator(deployment)
    factor, measured = coefficient(chip, "speed_factor"), coefficient(chip, "batch_measured")
    beyond = max(1.0, deployment.max_batch / measured.value)
    value = token_s(deployment, context_tokens)
    why = largest(step_parts(neuron_shape(deployment, context_tokens), neuron_law(deployment)))
    rows = (*_rows(deployment, STEP_ROWS).values(), factor, measured)
    return Estimate(value, value / factor.high / beyond, value / factor.low * beyond, "s", why, sources(rows))


def prefill_rows(deployment: Deployment) -> tuple[Coefficient, ...]:
    """The coefficients that a prefill rests on."""
    return tuple(_rows(deployment, PREFILL_ROWS).values())


def _rows(deployment: Deployment, names: tuple[str, ...]) -> dict[str, Coefficient]:
    return coefficients_of(require_accelerator(deployment), names, deployment.release)
