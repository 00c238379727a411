"""Content blocks of the Messages API and the parts that they stand for, both ways."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.api import Report
from headrace.wire.apis.media import data_url, inline
from headrace.wire.apis.seals import restored
from headrace.wire.apis.tool_names import wire_name, wrapped_arguments
from headrace.wire.body import NULL, decode_body
from headrace.wire.canonical import Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall, ToolResult

_MEDIA_KINDS = {"image": "image", "document": "file"}


class _Kind(msgspec.Struct):
    type: str


class _Text(msgspec.Struct):
    text: str


class _Source(msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class _Media(msgspec.Struct):
    source: _Source
    title: str | None = None


class _Thinking(msgspec.Struct):
    thinking: str = ""
    signature: str = ""


class _Redacted(msgspec.Struct):
    data: str


class _ToolUse(msgspec.Struct):
    id: str
    name: str
    input: Raw = NULL


class _ToolResult(msgspec.Struct):
    tool_use_id: str
    content: Raw = NULL
    is_error: bool | None = None


_kinds = msgspec.json.Decoder(_Kind)
_texts = msgspec.json.Decoder(_Text)
_medias = msgspec.json.Decoder(_Media)
_thinkings = msgspec.json.Decoder(_Thinking)
_redacteds = msgspec.json.Decoder(_Redacted)
_tool_uses = msgspec.json.Decoder(_ToolUse)
_tool_results = msgspec.json.Decoder(_ToolResult)
_contents = msgspec.json.Decoder(str | list[Raw] | None)
_objects = msgspec.json.Decoder(dict[str, Raw])


def read_content(content: Raw, path: str) -> tuple[Part, ...]:
    """The parts of `content`: text, or a list of blocks. Raises RequestError: it is neither; `param` says where."""
    decoded = decode_body(_contents, content, "content", path)
    if isinstance(decoded, str):
        return (Text(decoded),)
    return tuple(_read_block(raw, f"{path}[{at}]") for at, raw in enumerate(decoded or ()))


def _read_block(raw: Raw, path: str) -> Part:
    kind = decode_body(_kinds, raw, "a content block", path).type
    match kind:
        case "text":
            return Text(decode_body(_texts, raw, "a text block", path).text)
        case "image" | "document":
            return _read_media(raw, kind, path)
        case "thinking":
            thinking = decode_body(_thinkings, raw, "a thinking block", path)
            seal = restored(thinking.signature, "messages") if thinking.signature else None
            return Reasoning(thinking.thinking, seal=seal)
        case "redacted_thinking":
            data = decode_body(_redacteds, raw, "a redacted_thinking block", path).data
            return Reasoning(seal=restored(data, "messages", redacted=True))
        case "tool_use":
            call = decode_body(_tool_uses, raw, "a tool_use block", path)
            return ToolCall(call.id, call.name, read_input(call.input, path))
        case "tool_result":
            result = decode_body(_tool_results, raw, "a tool_result block", path)
            parts = read_content(result.content, f"{path}.content")
            content = tuple(part for part in parts if isinstance(part, Text | Media))
            return ToolResult(result.tool_use_id, content, bool(result.is_error))
    return Opaque("messages", kind, raw)


def read_input(raw: Raw, path: str) -> str:
    """The arguments of a call, as text."""
    text = bytes(raw)
    if text == b"null":
        return "{}"
    decode_body(_objects, raw, "a tool's input: an object", f"{path}.input")
    return text.decode()


def _read_media(raw: Raw, kind: str, path: str) -> Media:
    media = decode_body(_medias, raw, f"a block of type {kind}", path)
    neutral: Any = _MEDIA_KINDS[kind]
    match media.source:
        case _Source(type="base64", media_type=str(media_type), data=str(data)):
            return Media(neutral, data_url(media_type, data), filename=media.title)
        case _Source(type="url", url=str(url)):
            return Media(neutral, url, filename=media.title)
        case _Source(type="file", file_id=str(file_id)):
            return Media(neutral, file_id=file_id, filename=media.title)
        case _Source(type="text", data=str(text)):
            return Media(neutral, f"data:text/plain,{text}", filename=media.title)
    name = f"{path}.source"
    raise RequestError(f"{name}: send base64 with its media_type, a url, or a file_id", name)


def write_block(part: Part, report: Report) -> dict[str, Any] | Raw | None:
    """The block of a part; None where Messages has none for it."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text} if text else None
        case Media():
            return _write_media(part, report)
        case Reasoning():
            return _write_reasoning(part, report)
        case ToolCall():
            report.reshaped(part)
            return _write_call(part)
        case ToolResult(call_id, content, failed):
            return _write_result(call_id, content, failed, report)
        case Opaque(api="messages", raw=raw):
            return raw
        case Opaque():
            report.opaque(part)
    return None


def _write_media(media: Media, report: Report) -> dict[str, Any]:
    report.refuse("turns", media.kind == "audio", "audio has no place in a message")
    report.drop("turns[detail]", media.detail)
    kind = "image" if media.kind == "image" else "document"
    titled = {"title": media.filename} if media.filename and kind == "document" else {}
    if media.file_id is not None:
        return {"type": kind, "source": {"type": "file", "file_id": media.file_id}, **titled}
    url = media.url or ""
    data = inline(url)
    if data is not None:
        source = {"type": "base64", "media_type": data.media_type, "data": data.data}
        return {"type": kind, "source": source, **titled}
    if url.startswith("data:text/plain,"):
        text = url.partition(",")[2]
        return {"type": kind, "source": {"type": "text", "media_type": "text/plain", "data": text}, **titled}
    return {"type": kind, "source": {"type": "url", "url": url}, **titled}


def _write_reasoning(part: Reasoning, report: Report) -> dict[str, Any] | None:
    """Reasoning goes back only under the provider's own seal: without one it is refused."""
    seal = part.seal
    if seal is None or seal.api != "messages":
        report.drop("turns[reasoning]")
        return None
    if seal.redacted:
        return {"type": "redacted_thinking", "data": seal.data}
    return {"type": "thinking", "thinking": part.text or "\n\n".join(part.summary), "signature": seal.data}


def _write_call(call: ToolCall) -> dict[str, Any]:
    arguments = wrapped_arguments(call.arguments) if call.custom else call.arguments
    name = wire_name(call.name, call.namespace)
    return {"type": "tool_use", "id": call.call_id, "name": name, "input": input_object(arguments)}


def input_object(arguments: str) -> Raw | dict[str, str]:
    """Arguments as the object that `input` must be; what is no object (it was cut off) stands in `arguments`."""
    encoded = arguments.encode()
    try:
        _objects.decode(encoded or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return {"arguments": arguments}
    return Raw(encoded or b"{}")


def _write_result(call_id: str, content: tuple[Text | Media, ...], failed: bool, report: Report) -> dict[str, Any]:
    written: str | list[Any]
    if len(content) == 1 and isinstance(content[0], Text):
        written = content[0].text
    else:
        written = [block for block in (write_block(part, report) for part in content) if block is not None]
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id, "content": written}
    return result | {"is_error": True} if failed else result
