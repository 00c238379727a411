"""Chat completions: encoders of answers and their parts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
# How answers begin: id, time and model go in. The fingerprint is text because the SDK of Cerebras takes a chunk without
# it, or with null, for a whole answer, in which `delta` is a dict (cerebras_cloud_sdk 1.91.0).
SIGNED = b'"model":%b,"system_fingerprint":"fp_headrace",'
CHUNK = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,' + SIGNED
COMPLETION = b'{"id":%b,"object":"chat.completion","created":%d,' + SIGNED


def _text(value: str) -> bytes:
    return msgspec.json.encode(value)


def chat_chunk(
    chunk_id: str,
    model: str,
    created_s: int,
    content: str | None,
    *,
    role: bool = False,
    finish_reason: str | None = None,
) -> bytes:
    """One streamed chunk as a server-sent event.

    Args:
        created_s: Unix time of the answer.
        content: the piece of text; None leaves the delta without content.
        role: the first chunk of an answer names the assistant's role.
    """
    delta = b'"role":"assistant"' if role else b""
    if content is not None:
        delta += b'%b"content":%b' % (b"," if role else b"", _text(content))
    return (CHUNK + b'"choices":[{"index":0,"delta":{%b},"logprobs":null,"finish_reason":%b}]}\n\n') % (
        _text(chunk_id),
        created_s,
        _text(model),
        delta,
        b"null" if finish_reason is None else _text(finish_reason),
    )


def chat_usage(usage: Usage) -> bytes:
    """`usage` as chat and completions spell it; reasoning tokens are named only where there are any."""
    details = b',"completion_tokens_details":{"reasoning_tokens":%d}' % usage.reasoning_tokens
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}%b}'
    ) % (
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens + usage.output_tokens,
        usage.cached_input_tokens,
        details if usage.reasoning_tokens else b"",
    )


def chat_usage_chunk(
    chunk_id: str, model: str, created_s: int, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0
) -> bytes:
    """The extra chunk with the usage of a stream, as a server-sent event."""
    return (CHUNK + b'"choices":[],"usage":%b}\n\n') % (
        _text(chunk_id),
        created_s,
        _text(model),
        chat_usage(Usage(input_tokens, output_tokens, cached_input_tokens)),
    )


def chat_completion(
    completion_id: str,
    model: str,
    created_s: int,
    content: str,
    *,
    finish_reason: str,
    input_tokens: int,
    output_tokens: int,
    cached_input_tokens: int = 0,
) -> bytes:
    """A whole answer as a JSON body."""
    return (
        COMPLETION
        + b'"choices":[{"index":0,"message":{"role":"assistant","content":%b},'
        + b'"logprobs":null,"finish_reason":%b}],"usage":%b}'
    ) % (
        _text(completion_id),
        created_s,
        _text(model),
        _text(content),
        _text(finish_reason),
        chat_usage(Usage(input_tokens, output_tokens, cached_input_tokens)),
    )


def model_list(models: Iterable[str], created_s: int = 0, owner: str = "headrace") -> bytes:
    """The answer of `GET /v1/models`."""
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": created_s, "owned_by": owner} for name in models],
        }
    )
