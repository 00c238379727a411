"""TensorRT-LLM's server, NVIDIA Dynamo's front end and NIM."""

from __future__ import annotations

from dataclasses import replace

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    Auth,
    Dialect,
    Signals,
)

DOCS = "nvidia.github.io/TensorRT-LLM"
COLLECTOR = "TensorRT-LLM 050f80d"
DYNAMO_WHEEL = "ai-dynamo 1.6.1"

TENSORRT_LLM = Dialect(
    name="tensorrt-llm",
    title="TensorRT-LLM (trtllm-serve)",
    auth=(Auth.NONE, Auth.BEARER),
    paths={"chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES},
    signals=(
        Signals(
            "/prometheus/metrics",
            COLLECTOR,
            queued="trtllm_num_requests_waiting",
            running="trtllm_num_requests_running",
            kv_fraction="trtllm_kv_cache_utilization",
        ),
    ),
    notes=("Its reasoning field and overload status were not read; both names and every error shape are understood.",),
    sources={"auth": DOCS, "paths": DOCS + "; responses: recalled", "usage": "recalled", "done_marker": "recalled"},
)

DYNAMO = replace(
    TENSORRT_LLM,
    name="dynamo",
    title="NVIDIA Dynamo",
    paths={"chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES, "embeddings": EMBEDDINGS},
    signals=(
        Signals(
            "/metrics",
            DYNAMO_WHEEL,
            running="dynamo_frontend_inflight_requests",
            kv_fraction="dynamo_component_gpu_cache_usage_percent",
            needs="DYN_SYSTEM_PORT on the workers for the second",
        ),
    ),
    notes=("It moves requests between its own workers with --migration-limit (docs.nvidia.com/dynamo 1.6.1).",),
    sources={"auth": "recalled", "paths": "recalled", "usage": "recalled", "done_marker": "recalled"},
)

NIM = replace(
    TENSORRT_LLM,
    name="nim",
    title="NVIDIA NIM",
    auth=(Auth.NONE, Auth.BEARER),
    paths={"chat": CHAT, "completions": COMPLETIONS},
    signals=(Signals("/v1/metrics", "recalled"),),
    sources={"auth": "recalled", "paths": "recalled", "usage": "recalled", "done_marker": "recalled"},
)
