"""Scripted answers: what an emulated model says, turn by turn, tool calls included.

A script is a list of steps. A conversation that holds k turns of the model's gets step k, the last step for ever after:
so a script has no state, and an answer that is asked for again, here or at another backend, is the same answer. A
request that offers no tools gets the step's text alone.

    [{"reasoning": "I look first.", "calls": [{"name": "exec_command", "arguments": {"cmd": "ls"}}]},
     {"calls": [{"name": "apply_patch", "input": "*** Begin Patch ..."}]},
     {"text": "Done."}]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.emulate.prompt import BYTES_PER_TOKEN
from headrace.errors import RequestError
from headrace.wire.canonical import (
    CustomTool,
    Event,
    NamespaceTool,
    ReasoningDelta,
    Request,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
)

NOTHING_TO_SAY = "ok"


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool call: `arguments` of a function, or `input`, the text for a freeform tool."""

    name: str
    arguments: dict[str, Any] = {}  # noqa: RUF012: msgspec copies it
    input: str | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of the model's."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ScriptedCall, ...] = ()


Script = tuple[Step, ...]
_scripts = msgspec.json.Decoder(Script)


def read_script(text: bytes) -> Script:
    """The script of a JSON document. Raises RequestError: it is none."""
    try:
        script = _scripts.decode(text)
    except msgspec.DecodeError as error:
        raise RequestError(f"not a script: {error}") from None
    if not script:
        raise RequestError("a script has at least one step")
    return script


def step_of(script: Script, request: Request, begun: bool) -> Step:
    """The step that this conversation has come to; `begun`: its last turn is the beginning of that."""
    spoken = sum(1 for turn in request.turns if turn.role == "assistant") - begun
    return script[min(spoken, len(script) - 1)]


def step_events(step: Step, request: Request, answer_id: str) -> list[tuple[Event, ...]]:
    """The step as events, token by token: each tuple comes with one token."""
    tokens: list[tuple[Event, ...]] = [(ReasoningDelta(piece),) for piece in _pieces(step.reasoning)]
    tokens += [(TextDelta(piece),) for piece in _pieces(step.text)]
    offered = tuple(_tools(request.tools))
    for index, call in enumerate(step.calls if offered else ()):
        tokens += _call_events(call, offered, f"call_{answer_id}_{index}")
    return tokens or [(TextDelta(NOTHING_TO_SAY),)]


def rest_of(tokens: list[tuple[Event, ...]], begun: str) -> list[tuple[Event, ...]]:
    """What is left of an answer that has begun: what comes after its longest beginning that `begun` ends with."""
    text = "".join(event.text for token in tokens for event in token if isinstance(event, TextDelta))
    said = next((length for length in range(min(len(text), len(begun)), 0, -1) if begun.endswith(text[:length])), 0)
    if not said:
        return tokens
    rest: list[tuple[Event, ...]] = []
    for token in tokens:
        match token:
            case (TextDelta(piece),):
                if said < len(piece):
                    rest.append((TextDelta(piece[said:]),))
                said = max(said - len(piece), 0)
            case (ReasoningDelta(),):
                pass
            case _:
                rest.append(token)
    return rest or [()]  # nothing is left: the token that ends an answer has no text


def _call_events(
    call: ScriptedCall, offered: tuple[tuple[str | None, Tool], ...], call_id: str
) -> list[tuple[Event, ...]]:
    named = ((namespace, tool, getattr(tool, "name", None) or "") for namespace, tool in offered)
    here = (found for found in named if found[2] == call.name or found[2].endswith(f"__{call.name}"))
    namespace, tool, name = next(here, (None, None, call.name))
    custom = isinstance(tool, CustomTool)
    text = call.input if custom and call.input is not None else _arguments(call)
    started = ToolCallStarted(call_id, name, custom, namespace)
    deltas: list[tuple[Event, ...]] = [(ToolCallDelta(piece),) for piece in _pieces(text)]
    return [(started,), *deltas[:-1], (*(deltas[-1] if deltas else ()), ToolCallDone())]


def _arguments(call: ScriptedCall) -> str:
    fields = call.arguments if call.input is None else {"input": call.input, **call.arguments}
    return msgspec.json.encode(fields).decode()


def _tools(tools: tuple[Tool, ...]) -> Iterator[tuple[str | None, Tool]]:
    """Every tool with its namespace."""
    for tool in tools:
        if isinstance(tool, NamespaceTool):
            yield from ((tool.name, inner) for inner in tool.tools)
        else:
            yield None, tool


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + BYTES_PER_TOKEN] for at in range(0, len(text), BYTES_PER_TOKEN))
