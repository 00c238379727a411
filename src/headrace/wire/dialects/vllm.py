"""vLLM, on Nvidia and AMD GPUs, TPUs and Neuron chips: one server, of which each plug-in leaves something out."""

from __future__ import annotations

from dataclasses import replace

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    Parameter,
    Signals,
    Treatment,
)
from headrace.wire.error_kind import ErrorKind

WHEEL = "vllm 0.33.0"
TPU = "tpu-inference b8692ff"
NEURON = "vllm-neuron a5ef7c8 (2025-11)"
GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")

VLLM = Dialect(
    name="vllm",
    title="vLLM",
    auth=(Auth.BEARER, Auth.NONE),
    paths={
        "chat": CHAT,
        "completions": COMPLETIONS,
        "responses": RESPONSES,
        "messages": MESSAGES,
        "embeddings": EMBEDDINGS,
    },
    parameters=tuple(
        Parameter(
            name,
            Treatment.REFUSE,
            WHEEL,
            "it was removed and would be ignored with a 200; use structured_outputs or response_format",
            apis=("chat", "completions"),
        )
        for name in GUIDED
    ),
    reasoning=("reasoning", "reasoning_content"),
    past_reasoning="reasoning",
    extensions=frozenset(
        (
            *("structured_outputs", "thinking_token_budget", "include_reasoning", "return_token_ids", "cache_salt"),
            *("top_k", "min_p", "repetition_penalty", "chat_template_kwargs"),
        )
    ),
    errors=(
        ErrorRow(
            ErrorKind.OVERLOADED, 503, WHEEL, "QueueOverflowError", 503, "The request queue is full, try again later"
        ),
        ErrorRow(
            ErrorKind.OVERLOADED, 503, WHEEL, "MaxQueuedTokensError", 503, "Too many tokens wait for their prefill"
        ),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            WHEEL,
            "BadRequestError",
            400,
            "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, WHEEL, "BadRequestError", 400, "both flags cannot be true"),
        ErrorRow(ErrorKind.MODEL_NOT_FOUND, 404, WHEEL, "NotFoundError", 404, "The model `m` does not exist."),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, WHEEL, None, None, "Unauthorized"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, WHEEL, "InternalServerError", 500, "EngineCore encountered an issue"),
    ),
    continuation=Continuation.CONTINUE_FLAG,
    may_repeat=False,
    signals=(
        Signals(
            "/metrics",
            WHEEL,
            queued="vllm:num_requests_waiting",
            running="vllm:num_requests_running",
            kv_fraction="vllm:kv_cache_usage_perc",
        ),
        Signals("/load", WHEEL, running="server_load", needs="--enable-server-load-tracking"),
    ),
    notes=(
        f"Unknown fields are accepted in silence ({WHEEL}).",
        f"An error inside a stream is followed by `[DONE]`; its `code` is a number ({WHEEL}).",
        f"`finish_reason` may be `abort` or `repetition` ({WHEEL}).",
        f"Cached tokens are said only with --enable-prompt-tokens-details ({WHEEL}).",
        "Tools need --enable-auto-tool-choice and a parser (recalled).",
        f"The header endpoint-load-metrics-format: JSON brings the load back with each answer ({WHEEL}).",
    ),
    sources={
        "auth": WHEEL,
        "paths": WHEEL,
        "usage": WHEEL,
        "cached_tokens": WHEEL,
        "error_shape": WHEEL,
        "stream_error": WHEEL,
        "reasoning": WHEEL,
        "past_reasoning": WHEEL,
        "extensions": WHEEL + "; the sampling fields and chat_template_kwargs: recalled",
        "continuation": WHEEL,
        "may_repeat": WHEEL,
        "done_marker": WHEEL,
    },
)

VLLM_AMD = replace(VLLM, name="vllm-amd", title="vLLM on AMD GPUs")

VLLM_TPU = replace(
    VLLM,
    name="vllm-tpu",
    title="vLLM on TPUs",
    parameters=(
        Parameter(
            "seed",
            Treatment.DROP,
            TPU,
            "JAX does not support per-request seed.",
            apis=("chat", "completions"),
        ),
        *VLLM.parameters,
    ),
    notes=(*VLLM.notes, f"A request with `seed` is refused ({TPU})."),
)

VLLM_NEURON = replace(
    VLLM,
    name="vllm-neuron",
    title="vLLM on Neuron chips",
    notes=(
        *VLLM.notes,
        f"Static buckets and a small max_num_seqs: queue length says more than KV use ({NEURON}).",
        f"Chunked prefill is off by default, prefix caching is wrong at batch 1 ({NEURON}).",
    ),
)
