"""Chat completions: the head of a request, its edits, and encoders of answers.

Of a request body only the few fields that routing needs are decoded; the rest is checked to be JSON and skipped. Edits
keep every other byte: either one insertion after the first brace, or a rewrite of the top level that carries each
value over as it came.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Raw, UnsetType

from headrace.wire.body import decode_body, top_level
from headrace.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
_INCLUDE_USAGE = b'"stream_options":{"include_usage":true},'


class StreamOptions(msgspec.Struct, gc=False):
    """What a client asks of a stream."""

    include_usage: bool | None = None


class ChatHead(msgspec.Struct, gc=False):
    """What routing must know of a chat completion request.

    Attributes:
        stream_options: UNSET when the body does not name it, None when it says null.
    """

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the client asked for the usage chunk itself."""
        return isinstance(self.stream_options, StreamOptions) and bool(self.stream_options.include_usage)

    @property
    def max_output_tokens(self) -> int | None:
        """The client's ceiling over all its choices; None without one."""
        ceiling = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return None if ceiling is None else max(ceiling, 0) * max(self.n or 1, 1)


_heads = msgspec.json.Decoder(ChatHead)


def decode_chat_head(body: bytes) -> ChatHead:
    """The head of a chat completion request.

    Raises:
        RequestError: the body is not JSON, or a field has the wrong type; the message says where.
    """
    return decode_body(_heads, body, "a chat completion request")


def with_include_usage(body: bytes, head: ChatHead) -> bytes:
    """The body, asking for the usage chunk of a stream; unchanged if it asks already."""
    if head.include_usage:
        return body
    if head.stream_options is UNSET:
        brace = body.index(b"{") + 1
        return b"%b%b%b" % (body[:brace], _INCLUDE_USAGE, body[brace:])
    fields = top_level(body)
    options = {} if head.stream_options is None else msgspec.json.decode(fields["stream_options"], type=dict[str, Raw])
    options["include_usage"] = Raw(b"true")
    fields["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


def with_model(body: bytes, model: str) -> bytes:
    """The body, asking for `model` whatever it asked for before."""
    fields = top_level(body)
    fields["model"] = Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


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
    return (
        b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"system_fingerprint":null,'
        b'"choices":[{"index":0,"delta":{%b},"logprobs":null,"finish_reason":%b}]}\n\n'
    ) % (
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
    return (
        b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"system_fingerprint":null,'
        b'"choices":[],"usage":%b}\n\n'
    ) % (
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
        b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"system_fingerprint":null,"choices":[{"index":0,'
        b'"message":{"role":"assistant","content":%b},"logprobs":null,"finish_reason":%b}],"usage":%b}'
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
