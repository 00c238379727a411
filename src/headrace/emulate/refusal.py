"""What a provider answers with a 400 because of a parameter: as strict, and as lenient, as the provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headrace.wire.dialects import DIALECTS, Dialect, ErrorRow
from headrace.wire.error_kind import ErrorKind

GROQ = DIALECTS["groq"]
_SOURCE = "the parameter table of the dialects"
_REASONING_MODELS = ("o1", "o3", "o4")


def refused_parameter(dialect: Dialect, api: str, body: bytes) -> ErrorRow | None:
    """The error that this provider answers the request's parameters with; None: it takes them."""
    check = _CHECKS.get((dialect.name, api))
    if check is None:
        return None
    try:
        fields = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None  # that has an answer of its own
    message = check(fields) if isinstance(fields, dict) else None
    if message is None:
        return None
    same = next((row for row in dialect.errors if row.kind is ErrorKind.BAD_REQUEST), None)
    status, kind, code = (400, "invalid_request_error", None) if same is None else (same.status, same.type, same.code)
    return ErrorRow(ErrorKind.BAD_REQUEST, status, _SOURCE, kind, code, message)


def _groq(fields: Mapping[str, Any]) -> str | None:
    if fields.get("n", 1) not in (1, None):
        return "'n' : number must be at most 1"
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if fields.get(name):
            return f"property '{name}' is unsupported"
    if any("name" in message for message in fields.get("messages", ()) if isinstance(message, dict)):
        return "property 'messages[].name' is unsupported"
    if len(fields.get("tools") or ()) > (GROQ.max_tools or 0):
        return f"'tools' : maximum number of items is {GROQ.max_tools}"
    if "include_reasoning" in fields and "reasoning_format" in fields:
        return "include_reasoning and reasoning_format exclude each other"
    return None


def _cerebras(fields: Mapping[str, Any]) -> str | None:
    if fields.get("reasoning_effort") not in (None, "none", "low", "medium", "high"):
        return "body.reasoning_effort: Input should be 'none', 'low', 'medium' or 'high'"
    return None


def _openai(fields: Mapping[str, Any]) -> str | None:
    if "max_tokens" in fields and str(fields.get("model")).startswith(_REASONING_MODELS):
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    return None


def _tpu(fields: Mapping[str, Any]) -> str | None:
    return "JAX does not support per-request seed." if fields.get("seed") is not None else _vllm(fields)


def _vllm(fields: Mapping[str, Any]) -> str | None:
    if fields.get("continue_final_message") and fields.get("add_generation_prompt", True):
        return "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
    return None


def _anthropic(fields: Mapping[str, Any]) -> str | None:
    if "max_tokens" not in fields:
        return "max_tokens: Field required"
    messages = fields.get("messages") or [{}]
    if isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant":
        return "prefill not supported"
    return None


_CHECKS: dict[tuple[str, str], Callable[[Mapping[str, Any]], str | None]] = {
    ("groq", "chat"): _groq,
    ("cerebras", "chat"): _cerebras,
    ("openai", "chat"): _openai,
    ("vllm", "chat"): _vllm,
    ("vllm-amd", "chat"): _vllm,
    ("vllm-neuron", "chat"): _vllm,
    ("vllm-tpu", "chat"): _tpu,
    ("vllm-tpu", "completions"): _tpu,
    ("anthropic", "messages"): _anthropic,
}
