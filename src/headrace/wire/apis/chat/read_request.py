"""Chat completion requests, read into the neutral form.

Parts and messages are decoded into structs that know every field of every type, all optional: a type that nobody here
knows is then named in the error, instead of being the error.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.chat.tools import ToolField, read_choice, read_tools
from headrace.wire.apis.media import data_url, said_detail
from headrace.wire.body import NULL, decode_body, given, top_level
from headrace.wire.canonical import (
    Media,
    Part,
    Reasoning,
    ReasoningOptions,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    merged,
)
from headrace.wire.head import StreamOptions


class _ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class _Audio(msgspec.Struct):
    data: str
    format: str = "wav"


class _File(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageUrl | None = None
    input_audio: _Audio | None = None
    file: _File | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Custom(msgspec.Struct):
    name: str
    input: str = ""


class _ToolCall(msgspec.Struct):
    id: str
    type: str = "function"
    function: _Function | None = None
    custom: _Custom | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _JsonSchema(msgspec.Struct):
    name: str = "answer"
    schema: Raw = NULL
    description: str | None = None
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class WireRequest(msgspec.Struct):
    """The fields of a request that are read, as they are decoded."""

    model: str
    messages: list[_Message]
    tools: list[ToolField] | None = None
    tool_choice: Raw = NULL
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    verbosity: str | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None


_requests = msgspec.json.Decoder(WireRequest)
_KNOWN = frozenset(WireRequest.__struct_fields__)
_LEGACY = {"functions": "tools", "function_call": "tool_choice"}


def read_request(body: bytes) -> Request:
    """A chat completion request in neutral form.

    Raises:
        RequestError: it is none; `param` names the field.
    """
    fields = top_level(body)
    wire = decode_body(_requests, body, "a chat completion request")
    for name, instead in _LEGACY.items():
        if name in fields:
            raise RequestError(f"{name}: this form of tools cannot be translated; send `{instead}`", name)
    if not wire.messages:
        raise RequestError("messages: there is none; send at least one", "messages")
    ceiling = wire.max_completion_tokens if wire.max_completion_tokens is not None else wire.max_tokens
    return Request(
        api="chat",
        model=wire.model,
        turns=merged(_turn(message, f"messages[{at}]") for at, message in enumerate(wire.messages)),
        tools=read_tools(wire.tools or []),
        tool_choice=read_choice(given(wire.tool_choice)),
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=_response_format(wire.response_format),
        reasoning=ReasoningOptions(effort=wire.reasoning_effort),
        sampling=_sampling(wire, fields),
        max_output_tokens=ceiling,
        stop=read_stop(wire.stop),
        n=1 if wire.n is None else wire.n,
        logprobs=bool(wire.logprobs),
        top_logprobs=wire.top_logprobs,
        stream=bool(wire.stream),
        include_usage=wire.stream_options is not None and bool(wire.stream_options.include_usage),
        verbosity=wire.verbosity,
        metadata=wire.metadata,
        user=wire.user,
        service_tier=wire.service_tier,
        prompt_cache_key=wire.prompt_cache_key,
        store=wire.store,
        extra={name: value for name, value in fields.items() if name not in _KNOWN},
    )


def read_stop(stop: str | list[str] | None) -> tuple[str, ...]:
    """Stop sequences, as one string or several."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _sampling(wire: WireRequest, fields: dict[str, Raw]) -> Sampling:
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        seed=wire.seed,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        logit_bias=None if wire.logit_bias is None else fields["logit_bias"],
    )


def _response_format(wire: _ResponseFormat | None) -> ResponseFormat | None:
    if wire is None or wire.type == "text":
        return None
    if wire.type == "json_object":
        return ResponseFormat()
    if wire.type != "json_schema" or wire.json_schema is None:
        name = "response_format.type" if wire.type != "json_schema" else "response_format.json_schema"
        raise RequestError(f"{name}: send `text`, `json_object` or `json_schema` with its schema", name)
    schema = wire.json_schema
    return ResponseFormat(given(schema.schema) or Raw(b"{}"), schema.name, schema.description, schema.strict)


def _turn(message: _Message, path: str) -> Turn:
    match message.role:
        case "system" | "developer" | "user":
            if message.content is None:
                raise RequestError(f"{path}.content: it is missing; send text or a list of parts", f"{path}.content")
            return Turn(message.role, _content(message.content, path), message.name)
        case "assistant":
            return Turn("assistant", _assistant_parts(message, path), message.name)
        case "tool":
            return Turn("tool", (_tool_result(message, path),))
    raise RequestError(
        f"{path}.role: {message.role!r} is no role; send system, developer, user, assistant or tool", f"{path}.role"
    )


def _content(content: str | list[_Part] | None, path: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_part(part, f"{path}.content[{at}]") for at, part in enumerate(content))


def _part(part: _Part, path: str) -> Part:
    match part:
        case _Part(type="text", text=str(text)):
            return Text(text)
        case _Part(type="refusal", refusal=str(text)):
            return Refusal(text)
        case _Part(type="image_url", image_url=_ImageUrl(url, detail)):
            return Media("image", url, detail=said_detail(detail))
        case _Part(type="input_audio", input_audio=_Audio(data, form)):
            return Media("audio", data_url(f"audio/{form}", data))
        case _Part(type="file", file=_File(data, file_id, filename)) if data or file_id:
            return Media("file", data, file_id, filename=filename)
    raise RequestError(
        f"{path}: a part of type {part.type!r} without its content, or of a type unknown here; "
        "send text, refusal, image_url, input_audio or file",
        path,
    )


def _assistant_parts(message: _Message, path: str) -> tuple[Part, ...]:
    thought = message.reasoning or message.reasoning_content
    parts: list[Part] = [Reasoning(thought)] if thought else []
    parts += [part for part in _content(message.content, path) if part != Text("")]
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts += [_tool_call(call, f"{path}.tool_calls[{at}]") for at, call in enumerate(message.tool_calls or ())]
    return tuple(parts)


def _tool_call(call: _ToolCall, path: str) -> ToolCall:
    if call.type == "function" and call.function is not None:
        return ToolCall(call.id, call.function.name, call.function.arguments)
    if call.type == "custom" and call.custom is not None:
        return ToolCall(call.id, call.custom.name, call.custom.input, custom=True)
    raise RequestError(f"{path}: neither a function call nor a custom tool's; send `function` or `custom`", path)


def _tool_result(message: _Message, path: str) -> ToolResult:
    if message.tool_call_id is None:
        name = f"{path}.tool_call_id"
        raise RequestError(f"{name}: it is missing; name the call that this answers", name)
    if message.content is None:
        raise RequestError(f"{path}.content: it is missing; send what the tool answered", f"{path}.content")
    content = _content(message.content, path)
    return ToolResult(message.tool_call_id, tuple(part for part in content if isinstance(part, Text | Media)))
