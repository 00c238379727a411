"""Responses requests, read into the neutral form."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.responses.items import read_item
from headrace.wire.apis.responses.tools import read_choice, read_tools
from headrace.wire.body import NULL, decode_body, given, top_level
from headrace.wire.canonical import Opaque, ReasoningOptions, Request, ResponseFormat, Sampling, Text, Turn, merged


class _Format(msgspec.Struct):
    type: str
    name: str | None = None
    schema: Raw = NULL
    description: str | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class _Request(msgspec.Struct):
    model: str
    input: str | list[Raw] = ""
    instructions: str | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw = NULL
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_output_tokens: int | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None
    previous_response_id: str | None = None


class _MoreTools(msgspec.Struct):
    tools: list[Raw]


_requests = msgspec.json.Decoder(_Request)
_more_tools = msgspec.json.Decoder(_MoreTools)
_KNOWN = frozenset(_Request.__struct_fields__)
_SEALED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


def read_request(body: bytes) -> Request:
    """A request of the Responses API in neutral form.

    Raises:
        RequestError: it is none; `param` names the field.
    """
    fields = top_level(body)
    wire = decode_body(_requests, body, "a request of the Responses API")
    choice, own_tool = read_choice(given(wire.tool_choice))
    extra = {name: value for name, value in fields.items() if name not in _KNOWN and bytes(value) != b"null"}
    if own_tool:
        extra["tool_choice"] = wire.tool_choice
    include = wire.include or []
    text = wire.text or _Text()
    turns, more_tools = _turns(wire)
    return Request(
        api="responses",
        model=wire.model,
        turns=turns,
        tools=read_tools([*(wire.tools or []), *more_tools]),
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=_response_format(text.format),
        reasoning=_reasoning(wire.reasoning or _Reasoning(), _SEALED in include),
        sampling=Sampling(temperature=wire.temperature, top_p=wire.top_p, top_k=wire.top_k),
        max_output_tokens=wire.max_output_tokens,
        logprobs=_LOGPROBS in include or bool(wire.top_logprobs),
        top_logprobs=wire.top_logprobs,
        stream=bool(wire.stream),
        verbosity=text.verbosity,
        metadata=wire.metadata,
        user=wire.user,
        service_tier=wire.service_tier,
        prompt_cache_key=wire.prompt_cache_key,
        store=wire.store,
        previous_response_id=wire.previous_response_id,
        extra=extra,
    )


def _turns(wire: _Request) -> tuple[tuple[Turn, ...], list[Raw]]:
    """The turns, and the tools that are offered among them, as Codex does with its newest models."""
    turns = [Turn("system", (Text(wire.instructions),))] if wire.instructions else []
    tools: list[Raw] = []
    if isinstance(wire.input, str):
        if wire.input:
            turns.append(Turn("user", (Text(wire.input),)))
    else:
        for at, item in enumerate(wire.input):
            turn = read_item(item, f"input[{at}]")
            match turn.parts:
                case (Opaque(_, "additional_tools"),):
                    tools += decode_body(_more_tools, item, "additional tools", f"input[{at}]").tools
                case _:
                    turns.append(turn)
    if not turns and wire.previous_response_id is None:
        raise RequestError("input: there is none; send text or a list of items", "input")
    return merged(turns), tools


def _reasoning(wire: _Reasoning, sealed: bool) -> ReasoningOptions:
    return ReasoningOptions(effort=wire.effort, summary=wire.summary, sealed=sealed)


def _response_format(wire: _Format | None) -> ResponseFormat | None:
    if wire is None or wire.type == "text":
        return None
    if wire.type == "json_object":
        return ResponseFormat()
    schema = given(wire.schema)
    if wire.type != "json_schema" or schema is None:
        name = "text.format.type" if wire.type != "json_schema" else "text.format.schema"
        raise RequestError(f"{name}: send `text`, `json_object` or `json_schema` with its schema", name)
    return ResponseFormat(schema, wire.name or "answer", wire.description, wire.strict)
