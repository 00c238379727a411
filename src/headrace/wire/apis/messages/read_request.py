"""Messages requests, read into the neutral form; also those that only ask how many tokens they would be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.messages.blocks import read_content
from headrace.wire.body import NULL, decode_body, given, top_level
from headrace.wire.canonical import (
    AUTO,
    FunctionTool,
    OpaqueTool,
    ReasoningOptions,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    ToolResult,
    Turn,
    merged,
)


class _Message(msgspec.Struct):
    role: str
    content: Raw = NULL


class _Kind(msgspec.Struct):
    type: str | None = None


class _Tool(msgspec.Struct):
    name: str
    description: str | None = None
    input_schema: Raw = NULL
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    type: str
    schema: Raw = NULL


class _OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class WireRequest(msgspec.Struct):
    """The fields of a request that are read, as they are decoded."""

    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: Raw = NULL
    tools: list[Raw] | None = None
    tool_choice: _Choice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None


_requests = msgspec.json.Decoder(WireRequest)
_kinds = msgspec.json.Decoder(_Kind)
_tools = msgspec.json.Decoder(_Tool)
_KNOWN = frozenset(WireRequest.__struct_fields__)
# Anthropic's `any` is OpenAI's `required`; `tool` names one.
_MODES = {"auto": AUTO, "any": ToolChoice("required"), "none": ToolChoice("none")}


def read_request(body: bytes) -> Request:
    """A request of the Messages API in neutral form.

    Raises:
        RequestError: it is none; `param` names the field.
    """
    request = read_count_request(body)
    if request.max_output_tokens is None:
        raise RequestError("max_tokens: it is missing; send the ceiling of output tokens", "max_tokens")
    return request


def read_count_request(body: bytes) -> Request:
    """A request of `count_tokens`: the same without a ceiling. Raises RequestError as `read_request` does."""
    fields = top_level(body)
    wire = decode_body(_requests, body, "a request of the Messages API")
    if not wire.messages:
        raise RequestError("messages: there is none; send at least one", "messages")
    choice = wire.tool_choice
    parallel = None if choice is None else choice.disable_parallel_tool_use
    output = wire.output_config or _OutputConfig()
    return Request(
        api="messages",
        model=wire.model,
        turns=merged(_turns(wire)),
        tools=tuple(_tool(raw, f"tools[{at}]") for at, raw in enumerate(wire.tools or ())),
        tool_choice=_choice(choice),
        parallel_tool_calls=None if parallel is None else not parallel,
        response_format=_response_format(output.format),
        reasoning=_reasoning(wire.thinking, output.effort),
        sampling=Sampling(temperature=wire.temperature, top_p=wire.top_p, top_k=wire.top_k),
        max_output_tokens=wire.max_tokens,
        stop=tuple(wire.stop_sequences or ()),
        stream=bool(wire.stream),
        user=None if wire.metadata is None else wire.metadata.user_id,
        service_tier=wire.service_tier,
        extra={name: value for name, value in fields.items() if name not in _KNOWN and bytes(value) != b"null"},
    )


def _turns(wire: WireRequest) -> Iterator[Turn]:
    system = read_content(wire.system, "system")
    if system:
        yield Turn("system", system)
    for at, message in enumerate(wire.messages):
        path = f"messages[{at}]"
        if given(message.content) is None:
            raise RequestError(f"{path}.content: it is missing; send text or a list of blocks", f"{path}.content")
        yield from _message_turns(message, path)


def _message_turns(message: _Message, path: str) -> Iterator[Turn]:
    """The turns of a message: each tool result in a user's message is one, and stands before what the user says."""
    parts = read_content(message.content, f"{path}.content")
    match message.role:
        case "assistant":
            yield Turn("assistant", tuple(part for part in parts if part != Text("")))
        case "user" | "system":
            results = [part for part in parts if isinstance(part, ToolResult)]
            yield from (Turn("tool", (part,)) for part in results)
            rest = tuple(part for part in parts if not isinstance(part, ToolResult))
            if rest or not results:
                yield Turn(message.role, rest)
        case _:
            name = f"{path}.role"
            raise RequestError(f"{name}: {message.role!r} is no role; send user, assistant or system", name)


def _tool(raw: Raw, path: str) -> Tool:
    kind = decode_body(_kinds, raw, "a tool", path).type
    if kind not in (None, "custom"):
        return OpaqueTool("messages", kind, raw)
    tool = decode_body(_tools, raw, "a tool", path)
    return FunctionTool(tool.name, tool.description, given(tool.input_schema), tool.strict)


def _choice(choice: _Choice | None) -> ToolChoice | None:
    if choice is None:
        return None
    if choice.type == "tool" and choice.name is not None:
        return ToolChoice("required", choice.name)
    if choice.type not in _MODES:
        raise RequestError("tool_choice.type: send auto, any, none, or tool with its name", "tool_choice.type")
    return _MODES[choice.type]


def _reasoning(thinking: _Thinking | None, effort: str | None) -> ReasoningOptions:
    if thinking is None:
        return ReasoningOptions(effort=effort)
    if thinking.type == "disabled":
        return ReasoningOptions(effort="none")
    summary = "auto" if thinking.display == "summarized" else None
    return ReasoningOptions(effort, summary, thinking.budget_tokens, sealed=True)


def _response_format(wire: _Format | None) -> ResponseFormat | None:
    if wire is None:
        return None
    schema = given(wire.schema)
    if wire.type != "json_schema" or schema is None:
        name = "output_config.format"
        raise RequestError(f"{name}: send `json_schema` with its schema", name)
    return ResponseFormat(schema, strict=True)  # here a form is always kept
