"""Chat completion requests, written from the neutral form."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import RequestError
from headrace.wire.apis.api import Accepts, Outgoing, Report
from headrace.wire.apis.chat.tools import left_out, near_enough, write_choice, write_tools
from headrace.wire.apis.media import inline
from headrace.wire.apis.tool_names import tool_names, wire_name, wrapped_arguments
from headrace.wire.canonical import (
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)

_encode = msgspec.json.Encoder().encode


def write_request(request: Request, accepts: Accepts) -> Outgoing:
    """The request as a chat backend takes it.

    Raises:
        RequestError: chat cannot say something that would change the answer; `param` names the field.
    """
    report = Report(request, "chat")
    report.refuse("previous_response_id", request.previous_response_id, "stored answers are the Responses API's")
    messages = _messages(accepts, report)
    wire: dict[str, Any] = {"model": request.model, "messages": messages}
    _write_tools(wire, request, accepts, report)
    _write_options(wire, request, accepts, report)
    wire.update(report.extras(accepts))
    names = tool_names(request.tools, accepts.custom_tools)
    return Outgoing(_encode(wire), names, tuple(report.dropped), tuple(report.approximated))


def _write_tools(wire: dict[str, Any], request: Request, accepts: Accepts, report: Report) -> None:
    for kind in left_out(request.tools, "chat"):
        report.drop(f"tools[{kind}]")
    if near_enough(request.tools, accepts.custom_tools):
        report.approximate("tools")
    tools = write_tools(request, accepts.custom_tools)
    if not tools:
        return
    wire["tools"] = tools
    choice = write_choice(request, accepts.custom_tools)
    if request.tool_choice is not None and request.tool_choice.allowed is not None:
        report.approximate("tool_choice")  # only the allowed tools are offered
    if choice is not None:
        wire["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        wire["parallel_tool_calls"] = request.parallel_tool_calls


def _write_options(wire: dict[str, Any], request: Request, accepts: Accepts, report: Report) -> None:
    sampling, reasoning = request.sampling, request.reasoning
    report.drop("summary", reasoning.summary)
    report.drop("budget_tokens", reasoning.budget_tokens)
    report.drop("sealed", reasoning.sealed and request.api == "responses")  # Messages seals all reasoning
    if sampling.top_k is not None and "top_k" not in accepts.extensions and request.api != "chat":
        report.drop("top_k")
        sampling = msgspec.structs.replace(sampling, top_k=None)
    options = {
        accepts.max_tokens_field: request.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": sampling.logit_bias,
        "stop": list(request.stop) or None,
        "n": None if request.n == 1 else request.n,
        "logprobs": request.logprobs or None,
        "top_logprobs": request.top_logprobs if request.logprobs else None,
        "reasoning_effort": reasoning.effort,
        "verbosity": request.verbosity,
        "metadata": request.metadata,
        "user": request.user,
        "service_tier": request.service_tier,
        "prompt_cache_key": request.prompt_cache_key,
        "store": request.store,
        "response_format": _response_format(request),
        "stream": request.stream or None,
        "stream_options": {"include_usage": True} if request.stream else None,
    }
    wire.update((name, value) for name, value in options.items() if value is not None)


def _response_format(request: Request) -> dict[str, Any] | None:
    wanted = request.response_format
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _messages(accepts: Accepts, report: Report) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in report.turns():
        messages += _turn_messages(turn, accepts, report)
    return messages


def _turn_messages(turn: Turn, accepts: Accepts, report: Report) -> list[dict[str, Any]]:
    if turn.role == "assistant":
        return [_assistant(turn, accepts, report)]
    if turn.role == "tool":
        return _tool(turn, report)
    role: str = turn.role
    if role == "developer" and not accepts.developer_role:
        report.approximate("turns[developer]")
        role = "system"
    message: dict[str, Any] = {"role": role, "content": _content(turn.parts, report)}
    if turn.name is not None:
        message["name"] = turn.name
    return [message]


def _content(parts: tuple[Part, ...], report: Report) -> str | list[dict[str, Any]]:
    """One text as a string, which every backend takes; else a list of parts."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    written = [_part(part, report) for part in parts]
    return [part for part in written if part is not None]


def _part(part: Part, report: Report) -> dict[str, Any] | None:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Refusal(text):
            return {"type": "refusal", "refusal": text}
        case Media():
            return _media(part, report)
        case Opaque():
            report.opaque(part)
    return None


def _media(media: Media, report: Report) -> dict[str, Any]:
    if media.kind == "image":
        report.refuse("turns", media.url is None, "an image by file id has no place in a chat")
        image = {"url": media.url} | ({"detail": media.detail} if media.detail else {})
        return {"type": "image_url", "image_url": image}
    if media.kind == "audio":
        audio = inline(media.url or "")
        if audio is None:
            raise RequestError("messages: audio is sent as a `data:` URL in base64", "messages")
        return {
            "type": "input_audio",
            "input_audio": {"data": audio.data, "format": audio.media_type.partition("/")[2]},
        }
    report.refuse("turns", media.url is not None and inline(media.url) is None, "a file by URL has no place in a chat")
    fields = {"file_data": media.url, "file_id": media.file_id, "filename": media.filename}
    return {"type": "file", "file": {name: value for name, value in fields.items() if value is not None}}


def _assistant(turn: Turn, accepts: Accepts, report: Report) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    said = tuple(part for part in turn.parts if isinstance(part, Text | Media | Opaque))
    message["content"] = (_content(said, report) or None) if said else None
    refusals = "".join(part.text for part in turn.parts if isinstance(part, Refusal))
    if refusals:
        message["refusal"] = refusals
    thought = "\n".join(filter(None, (_thought(part) for part in turn.parts if isinstance(part, Reasoning))))
    if thought and accepts.reasoning_field is not None:
        message[accepts.reasoning_field] = thought
    elif any(isinstance(part, Reasoning) for part in turn.parts):
        report.drop("turns[reasoning]")
    calls = [_tool_call(part, accepts, report) for part in turn.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None:
        message["content"] = ""
    if turn.name is not None:
        message["name"] = turn.name
    return message


def _thought(part: Reasoning) -> str:
    return part.text or "\n\n".join(part.summary)


def _tool_call(call: ToolCall, accepts: Accepts, report: Report) -> dict[str, Any]:
    name = wire_name(call.name, call.namespace)
    if call.custom and accepts.custom_tools:
        return {"id": call.call_id, "type": "custom", "custom": {"name": name, "input": call.arguments}}
    report.reshaped(call)
    arguments = wrapped_arguments(call.arguments) if call.custom else call.arguments
    return {"id": call.call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tool(turn: Turn, report: Report) -> list[dict[str, Any]]:
    """Tool results; what is not text in them follows as a user's message, as chat has no other place for it."""
    messages: list[dict[str, Any]] = []
    shown: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            texts = tuple(piece for piece in part.content if isinstance(piece, Text)) or (Text(""),)
            report.drop("turns[is_error]", part.failed)
            shown += [piece for piece in part.content if isinstance(piece, Media)]
            messages.append({"role": "tool", "tool_call_id": part.call_id, "content": _content(texts, report)})
    if shown:
        report.approximate("turns")
        messages.append({"role": "user", "content": _content(tuple(shown), report)})
    return messages
