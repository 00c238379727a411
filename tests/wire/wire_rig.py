"""What the tests of translation share: recordings, comparable forms, and the way through two APIs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.errors import RequestError
from headrace.wire.apis import APIS, PLAIN, Accepts, ApiName, Outgoing
from headrace.wire.apis.tool_names import flattened
from headrace.wire.canonical import CustomTool, Event, Reasoning, Request, ToolCall

RECORDED = Path(__file__).parent / "recorded"
API_NAMES: tuple[ApiName, ...] = ("chat", "completions", "responses", "messages")
CHATTY: tuple[ApiName, ...] = ("chat", "responses", "messages")
ANSWER_ID = "8f3a"


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def plain(value: Any) -> Any:
    """A neutral form as plain data; raw JSON becomes what it says."""
    return json.loads(msgspec.json.encode(value))


def comparable(request: Request) -> dict[str, Any]:
    """What a request means, without what only says how one API spells it.

    A function's `strict: false` is the default outside Responses, a form's name is no part of it, the usage
    chunk is what chat and completions must ask for and the others always send, and Messages always seals reasoning.
    """
    form = plain(request)
    for name in ("api", "extra", "include_usage"):
        del form[name]
    form["tools"] = [plain(tool) | {"custom": isinstance(tool, CustomTool)} for _, tool, _ in flattened(request.tools)]
    for tool in form["tools"]:
        tool["strict"] = tool.get("strict") or None
    if form["response_format"] is not None:
        del form["response_format"]["name"]
    form["store"] = form["store"] or None
    del form["reasoning"]["sealed"]
    form["tool_choice"] = form["tool_choice"] or {"mode": "auto", "name": None, "allowed": None}
    return form


def choices(answer: Any) -> list[dict[str, Any]]:
    """The choices of an answer as plain data, without the seals that only a provider reads."""
    form = plain(answer)["choices"]
    for choice in form:
        for part in choice["parts"]:
            part.pop("seal", None)
    return form


def read_stream(api: ApiName, stream: bytes, tools: Any = PLAIN) -> list[Event]:
    reader = APIS[api].stream_reader(tools)
    return [*reader.feed(stream), *reader.close(True)]


def write_stream(api: ApiName, request: Request, events: list[Event]) -> bytes:
    return APIS[api].stream_writer(request, ANSWER_ID, 1_764_000_000).write_all(events)


class Passage(NamedTuple):
    """What became of a request on its way to another API: `refused` names a field, else the rest says the loss."""

    refused: str | None
    outgoing: Outgoing | None
    arrived: Request | None


def accepting(**known: Any) -> Accepts:
    """What a backend accepts that knows these things beyond its API."""
    return Accepts(default_max_output_tokens=32_000, **known)


def send(request: Request, backend: ApiName, accepts: Accepts | None = None) -> Passage:
    """The request as a backend of `backend` understands it."""
    try:
        outgoing = APIS[backend].write_request(request, accepts or accepting())
    except RequestError as error:
        return Passage(error.param, None, None)
    return Passage(None, outgoing, APIS[backend].read_request(outgoing.body))


def sealed(request: Request) -> bool:
    parts = [part for turn in request.turns for part in turn.parts]
    return any(isinstance(part, Reasoning) and part.seal is not None for part in parts)


def calls(request: Request) -> list[ToolCall]:
    return [part for turn in request.turns for part in turn.parts if isinstance(part, ToolCall)]
