"""Fields of a response object: what it cost, and what was asked, said again."""

from __future__ import annotations

import msgspec

from headrace.wire.apis.responses.tools import write_choice, write_tools
from headrace.wire.apis.responses.write_request import text_options
from headrace.wire.canonical import Request, Usage


def usage_object(usage: Usage) -> bytes:
    """`usage` as Responses spells it."""
    return (
        b'{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},"output_tokens":%d,'
        b'"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}'
    ) % (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.input_tokens + usage.output_tokens,
    )


def echo(request: Request) -> bytes:
    """The fields of a response that say again what was asked."""
    reasoning = {"effort": request.reasoning.effort, "summary": request.reasoning.summary}
    asked = {
        "instructions": None,
        "metadata": request.metadata or {},
        "parallel_tool_calls": True if request.parallel_tool_calls is None else request.parallel_tool_calls,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "tool_choice": write_choice(request) or "auto",
        "tools": write_tools(request),
        "max_output_tokens": request.max_output_tokens,
        "previous_response_id": request.previous_response_id,
        "reasoning": reasoning,
        "store": bool(request.store),
        "text": {"format": {"type": "text"}} | text_options(request),
        "truncation": "disabled",
    }
    return msgspec.json.encode(asked)[1:-1]
