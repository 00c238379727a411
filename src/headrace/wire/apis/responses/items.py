"""Items of the Responses API and the turns that they stand for, both ways.

A turn of the assistant is a run of items there: reasoning, messages, calls. Each item is decoded by its own type, so
that an item which only OpenAI understands is carried as it is and cannot make a request fail.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.api import Report
from headrace.wire.apis.media import data_url, said_detail
from headrace.wire.apis.seals import restored
from headrace.wire.body import decode_body
from headrace.wire.canonical import (
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)


class _Kind(msgspec.Struct):
    type: str | None = None


class _Audio(msgspec.Struct):
    data: str
    format: str = "wav"


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    detail: str | None = None
    input_audio: _Audio | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part]


class Call(msgspec.Struct):
    """A function's or a custom tool's call."""

    call_id: str
    name: str
    arguments: str = ""
    input: str = ""
    namespace: str | None = None


class _Output(msgspec.Struct):
    call_id: str
    output: str | list[_Part]


class ReasoningItem(msgspec.Struct):
    """A reasoning item."""

    id: str | None = None
    summary: list[_Part] | None = None
    content: list[_Part] | None = None
    encrypted_content: str | None = None


_kinds = msgspec.json.Decoder(_Kind)
_messages = msgspec.json.Decoder(_Message)
_calls = msgspec.json.Decoder(Call)
_outputs = msgspec.json.Decoder(_Output)
_reasonings = msgspec.json.Decoder(ReasoningItem)


def read_item(raw: Raw, path: str) -> Turn:
    """The turn, or piece of a turn, that an item stands for.

    Raises:
        RequestError: it is no item; `param` says where.
    """
    kind = decode_body(_kinds, raw, "an item", path).type
    match kind:
        case None | "message":
            return _read_message(decode_body(_messages, raw, "a message", path), path)
        case "function_call" | "custom_tool_call":
            return Turn("assistant", (read_call(decode_body(_calls, raw, "a tool call", path), kind),))
        case "function_call_output" | "custom_tool_call_output":
            output = decode_body(_outputs, raw, "a tool's output", path)
            parts = _read_parts(output.output, f"{path}.output")
            content = tuple(part for part in parts if isinstance(part, Text | Media))
            return Turn("tool", (ToolResult(output.call_id, content),))
        case "reasoning":
            return Turn("assistant", (read_reasoning(decode_body(_reasonings, raw, "a reasoning item", path)),))
    return Turn("tool" if kind.endswith("_output") else "assistant", (Opaque("responses", kind, raw),))


def read_call(call: Call, kind: str) -> ToolCall:
    """The call of a `function_call` or `custom_tool_call` item."""
    custom = kind == "custom_tool_call"
    return ToolCall(call.call_id, call.name, call.input if custom else call.arguments, custom, call.namespace)


def read_reasoning(item: ReasoningItem) -> Reasoning:
    """The reasoning of a `reasoning` item."""
    seal = restored(item.encrypted_content, "responses", item.id) if item.encrypted_content else None
    text = "".join(part.text or "" for part in item.content or ())
    return Reasoning(text, tuple(part.text or "" for part in item.summary or ()), seal)


def _read_message(message: _Message, path: str) -> Turn:
    match message.role:
        case "user" | "system" | "developer" | "assistant":
            return Turn(message.role, _read_parts(message.content, f"{path}.content"))
    name = f"{path}.role"
    raise RequestError(f"{name}: {message.role!r} is no role; send user, assistant, system or developer", name)


def _read_parts(content: str | list[_Part], path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_read_part(part, f"{path}[{at}]") for at, part in enumerate(content))


def _read_part(part: _Part, path: str) -> Part:
    match part:
        case _Part(type="input_text" | "output_text" | "text" | "summary_text", text=str(text)):
            return Text(text)
        case _Part(type="refusal", refusal=str(text)):
            return Refusal(text)
        case _Part(type="input_image") if part.image_url or part.file_id:
            return Media("image", part.image_url, part.file_id, said_detail(part.detail))
        case _Part(type="input_file") if part.file_url or part.file_data or part.file_id:
            return Media("file", part.file_url or part.file_data, part.file_id, filename=part.filename)
        case _Part(type="input_audio", input_audio=_Audio(data, form)):
            return Media("audio", data_url(f"audio/{form}", data))
    raise RequestError(
        f"{path}: a part of type {part.type!r} without its content, or of a type unknown here; "
        "send input_text, output_text, refusal, input_image, input_file or input_audio",
        path,
    )


def write_items(turns: tuple[Turn, ...], report: Report) -> list[Any]:
    """The turns as input items."""
    items: list[Any] = []
    custom = {part.call_id for turn in turns for part in turn.parts if isinstance(part, ToolCall) and part.custom}
    for turn in turns:
        if turn.role == "assistant":
            items += [item for at, part in enumerate(turn.parts) for item in _said(part, len(items) + at, report)]
        elif turn.role == "tool":
            items += [item for part in turn.parts for item in _answered(part, custom, report)]
        else:
            report.drop("turns[name]", turn.name)
            items.append({"type": "message", "role": turn.role, "content": _content(turn.parts, report)})
    return items


def _content(parts: tuple[Part, ...], report: Report) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    written = (_write_part(part, report) for part in parts)
    return [part for part in written if part is not None]


def _write_part(part: Part, report: Report) -> dict[str, Any] | None:
    match part:
        case Text(text) | Refusal(text):
            return {"type": "input_text", "text": text}
        case Media():
            return _write_media(part, report)
        case Opaque():
            report.opaque(part)
    return None


def _write_media(media: Media, report: Report) -> dict[str, Any]:
    report.refuse("turns", media.kind == "audio", "audio has no place in a response's input")
    if media.kind == "image":
        fields = {"image_url": media.url, "file_id": media.file_id, "detail": media.detail or "auto"}
    else:
        field = "file_data" if (media.url or "").startswith("data:") else "file_url"
        fields = {field: media.url, "file_id": media.file_id, "filename": media.filename}
    given_fields = {name: value for name, value in fields.items() if value is not None}
    return {"type": f"input_{media.kind}", **given_fields}


def _said(part: Part, at: int, report: Report) -> list[Any]:
    """The item of a part that the model said."""
    match part:
        case Text(text):
            return [{"type": "message", "role": "assistant", "content": text}]
        case Refusal(text):
            refusal = [{"type": "refusal", "refusal": text}]
            message = {"type": "message", "id": f"msg_{at}", "role": "assistant", "status": "completed"}
            return [message | {"content": refusal}]
        case Reasoning():
            return _write_reasoning(part, at, report)
        case ToolCall():
            return [write_call(part)]
        case Opaque(api="responses", raw=raw):
            return [raw]
        case Opaque():
            report.opaque(part)
        case Media():
            report.refuse("turns", True, "the assistant's own image cannot be sent back")
    return []


def write_call(call: ToolCall) -> dict[str, Any]:
    """The item of a tool call, without an id."""
    kind, what = ("custom_tool_call", "input") if call.custom else ("function_call", "arguments")
    item = {"type": kind, "call_id": call.call_id, "name": call.name, what: call.arguments}
    return item if call.namespace is None else item | {"namespace": call.namespace}


def _write_reasoning(part: Reasoning, at: int, report: Report) -> list[Any]:
    item: dict[str, Any] = {
        "type": "reasoning",
        "id": f"rs_{at}",
        "summary": [{"type": "summary_text", "text": text} for text in part.summary],
    }
    if part.text:
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    if part.seal is not None and part.seal.api == "responses":
        item["encrypted_content"] = part.seal.data
        item["id"] = part.seal.item_id or item["id"]
    elif part.seal is not None:
        report.drop("turns[reasoning]")
    return [item] if len(item) > 3 or part.summary else []


def _answered(part: Part, custom: set[str], report: Report) -> list[Any]:
    """The item of a tool's result."""
    if isinstance(part, Opaque) and part.api == "responses":
        return [part.raw]
    if not isinstance(part, ToolResult):
        return []
    report.drop("turns[is_error]", part.failed)
    kind = "custom_tool_call_output" if part.call_id in custom else "function_call_output"
    return [{"type": kind, "call_id": part.call_id, "output": _content(part.content, report)}]
