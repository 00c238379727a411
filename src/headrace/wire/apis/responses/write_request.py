"""Responses requests, written from the neutral form."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.wire.apis.api import Accepts, Outgoing, Report
from headrace.wire.apis.responses.items import write_items
from headrace.wire.apis.responses.tools import write_choice, write_tools
from headrace.wire.apis.tool_names import tool_names
from headrace.wire.canonical import OpaqueTool, Request, Text, Turn

_encode = msgspec.json.Encoder().encode


def write_request(request: Request, accepts: Accepts) -> Outgoing:
    """The request as a Responses backend takes it.

    Raises:
        RequestError: the API cannot say something that would change the answer; `param` names the field.
    """
    report = Report(request, "responses")
    report.refuse("n", request.n != 1, "a response has one choice")
    report.refuse("stop", request.stop, "a response has no stop sequences")
    wire: dict[str, Any] = {"model": request.model}
    instructions, turns = _instructions(report.turns())
    if instructions is not None:
        wire["instructions"] = instructions
    wire["input"] = write_items(turns, report)
    _write_tools(wire, request, report)
    wire.update((name, value) for name, value in _options(request, accepts, report).items() if value is not None)
    wire.update(report.extras(accepts))
    names = tool_names((), custom_tools=True)
    return Outgoing(_encode(wire), names, tuple(report.dropped), tuple(report.approximated))


def _instructions(turns: tuple[Turn, ...]) -> tuple[str | None, tuple[Turn, ...]]:
    """A system turn of one text at the beginning is `instructions`."""
    if turns and turns[0].role == "system" and turns[0].name is None and len(turns[0].parts) == 1:
        part = turns[0].parts[0]
        if isinstance(part, Text) and part.text:
            return part.text, turns[1:]
    return None, turns


def _write_tools(wire: dict[str, Any], request: Request, report: Report) -> None:
    for tool in request.tools:
        if isinstance(tool, OpaqueTool) and tool.api != "responses":
            report.drop(f"tools[{tool.kind}]")
    tools = write_tools(request)
    if not tools:
        return
    wire["tools"] = tools
    choice = write_choice(request)
    if choice is not None:
        wire["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        wire["parallel_tool_calls"] = request.parallel_tool_calls


def _options(request: Request, accepts: Accepts, report: Report) -> dict[str, Any]:
    sampling, reasoning = request.sampling, request.reasoning
    for field in ("seed", "frequency_penalty", "presence_penalty", "logit_bias"):
        report.drop(field, getattr(sampling, field))
    report.drop("budget_tokens", reasoning.budget_tokens)
    own = request.api == "responses"
    top_k = sampling.top_k if own or "top_k" in accepts.extensions else None
    report.drop("top_k", sampling.top_k if top_k is None else None)
    thinking = {"effort": reasoning.effort, "summary": reasoning.summary}
    include = ["reasoning.encrypted_content"] if reasoning.sealed else []
    include += ["message.output_text.logprobs"] if request.logprobs else []
    return {
        "max_output_tokens": request.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": top_k,
        "top_logprobs": request.top_logprobs if request.logprobs else None,
        "text": text_options(request) or None,
        "reasoning": {name: value for name, value in thinking.items() if value is not None} or None,
        "include": include or None,
        "metadata": request.metadata,
        "user": request.user,
        "service_tier": request.service_tier,
        "prompt_cache_key": request.prompt_cache_key,
        # Elsewhere nothing is stored unless the client says so; here the default is to store.
        "store": request.store if own or request.store is not None else False,
        "previous_response_id": request.previous_response_id,
        "stream": request.stream or None,
    }


def text_options(request: Request) -> dict[str, Any]:
    """`text`: the format and the verbosity that the client asked for."""
    wanted, text = request.response_format, dict[str, Any]()
    if wanted is not None and wanted.schema is None:
        text["format"] = {"type": "json_object"}
    elif wanted is not None:
        form: dict[str, Any] = {"type": "json_schema", "name": wanted.name or "answer", "schema": wanted.schema}
        if wanted.description is not None:
            form["description"] = wanted.description
        if wanted.strict is not None:
            form["strict"] = wanted.strict
        text["format"] = form
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    return text
