"""Messages requests, written from the neutral form."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.wire.apis.api import Accepts, Outgoing, Report
from headrace.wire.apis.chat.tools import as_function, left_out, near_enough
from headrace.wire.apis.messages.blocks import write_block
from headrace.wire.apis.tool_names import flattened, tool_names, wire_name
from headrace.wire.canonical import CustomTool, OpaqueTool, Request, Text, Turn

_encode = msgspec.json.Encoder().encode
_NO_INPUT = Raw(b'{"type":"object","properties":{}}')
# OpenAI's efforts that Anthropic has no word for, and the nearest one it has.
_NEAREST_EFFORT = {"minimal": "low"}
_TIERS = frozenset(("auto", "standard_only"))


def write_request(request: Request, accepts: Accepts) -> Outgoing:
    """The request as a Messages backend takes it.

    Raises:
        RequestError: the API cannot say something that would change the answer; `param` names the field.
    """
    report = Report(request, "messages")
    _refuse(request, report)
    system, turns = _system(report.turns(), report)
    wire: dict[str, Any] = {"model": request.model, "max_tokens": _ceiling(request, accepts, report)}
    if system:
        wire["system"] = system
    wire["messages"] = _messages(turns, report)
    _write_tools(wire, request, report)
    wire.update((name, value) for name, value in _options(request, accepts, report).items() if value is not None)
    wire.update(report.extras(accepts))
    names = tool_names(request.tools, custom_tools=False)
    return Outgoing(_encode(wire), names, tuple(report.dropped), tuple(report.approximated))


def _refuse(request: Request, report: Report) -> None:
    report.refuse("previous_response_id", request.previous_response_id, "stored answers are the Responses API's")
    report.refuse("n", request.n != 1, "a message is one choice")
    report.refuse("logprobs", request.logprobs, "messages have no log probabilities")
    any_json = request.response_format is not None and request.response_format.schema is None
    report.refuse("response_format", any_json, "messages can follow a JSON Schema, not JSON of any form")


def _ceiling(request: Request, accepts: Accepts, report: Report) -> int:
    if request.max_output_tokens is not None:
        return request.max_output_tokens
    report.approximate("max_output_tokens")
    return accepts.default_max_output_tokens


def _system(turns: tuple[Turn, ...], report: Report) -> tuple[str | list[Any], tuple[Turn, ...]]:
    """The system turns at the beginning, as `system`, and the rest."""
    at = 0
    while at < len(turns) and turns[at].role in ("system", "developer"):
        if turns[at].role == "developer":
            report.approximate("turns[developer]")
        report.drop("turns[name]", turns[at].name)
        at += 1
    texts = [part.text for turn in turns[:at] for part in turn.parts if isinstance(part, Text) and part.text]
    system = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]
    return system, turns[at:]


def _messages(turns: tuple[Turn, ...], report: Report) -> list[dict[str, Any]]:
    """The messages; tool results and what the user says after them are one, as the API wants it."""
    messages: list[dict[str, Any]] = []
    joins = False
    for turn in turns:
        role = {"tool": "user", "developer": "system"}.get(turn.role, turn.role)
        if turn.role == "developer":
            report.approximate("turns[developer]")
        report.drop("turns[name]", turn.name)
        content = [block for block in (write_block(part, report) for part in turn.parts) if block is not None]
        if joins and role == "user":
            messages[-1]["content"] += content
        elif content:
            messages.append({"role": role, "content": content})
        joins = turn.role == "tool"
    for message in messages:
        content = message["content"]
        if len(content) == 1 and isinstance(content[0], dict) and content[0]["type"] == "text":
            message["content"] = content[0]["text"]
    return messages


def _write_tools(wire: dict[str, Any], request: Request, report: Report) -> None:
    for kind in left_out(request.tools, "messages"):
        report.drop(f"tools[{kind}]")
    if near_enough(request.tools, custom_tools=False):
        report.approximate("tools")
    choice = request.tool_choice
    allowed = choice.allowed if choice is not None else None
    if allowed is not None:
        report.approximate("tool_choice")  # only the allowed tools are offered
    tools: list[Any] = []
    for name, tool, _ in flattened(request.tools):
        function = as_function(tool) if isinstance(tool, CustomTool) else tool
        if allowed is None or tool.name in allowed:
            described = {} if function.description is None else {"description": function.description}
            strict = {} if function.strict is None else {"strict": function.strict}
            tools.append({"name": name, **described, "input_schema": function.parameters or _NO_INPUT, **strict})
    tools += [tool.raw for tool in request.tools if isinstance(tool, OpaqueTool) and tool.api == "messages"]
    if tools:
        wire["tools"] = tools
        written = _choice(request)
        if written is not None:
            wire["tool_choice"] = written


def _choice(request: Request) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if choice is None and parallel is not False:
        return None
    if choice is not None and choice.name is not None:
        namespaces = {tool.name: namespace for _, tool, namespace in flattened(request.tools)}
        written: dict[str, Any] = {"type": "tool", "name": wire_name(choice.name, namespaces.get(choice.name))}
    else:
        mode = "auto" if choice is None else choice.mode
        written = {"type": "any" if mode == "required" else mode}
    if parallel is not None and written["type"] != "none":
        written["disable_parallel_tool_use"] = not parallel
    return written


def _options(request: Request, accepts: Accepts, report: Report) -> dict[str, Any]:
    sampling = request.sampling
    for field in ("seed", "frequency_penalty", "presence_penalty", "logit_bias"):
        report.drop(field, getattr(sampling, field))
    for field in ("verbosity", "metadata", "prompt_cache_key", "store"):
        report.drop(field, getattr(request, field))
    tier = request.service_tier if request.service_tier in _TIERS else None
    report.drop("service_tier", request.service_tier if tier is None else None)
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": list(request.stop) or None,
        "thinking": _thinking(request),
        "output_config": _output_config(request, report) or None,
        "metadata": None if request.user is None else {"user_id": request.user},
        "service_tier": tier,
        "stream": request.stream or None,
    }


def _thinking(request: Request) -> dict[str, Any] | None:
    reasoning = request.reasoning
    if reasoning.effort == "none":
        return {"type": "disabled"}
    if reasoning.budget_tokens is not None:
        thinking: dict[str, Any] = {"type": "enabled", "budget_tokens": reasoning.budget_tokens}
    elif reasoning.effort is not None or reasoning.summary is not None or reasoning.sealed:
        thinking = {"type": "adaptive"}
    else:
        return None
    return thinking | {"display": "summarized"} if reasoning.summary is not None else thinking


def _output_config(request: Request, report: Report) -> dict[str, Any]:
    config: dict[str, Any] = {}
    effort = request.reasoning.effort
    if effort in _NEAREST_EFFORT:
        report.approximate("effort")
    if effort not in (None, "none"):
        config["effort"] = _NEAREST_EFFORT.get(effort or "", effort)
    wanted = request.response_format
    if wanted is not None:
        config["format"] = {"type": "json_schema", "schema": wanted.schema}
        report.drop("response_format", wanted.description)
    return config
