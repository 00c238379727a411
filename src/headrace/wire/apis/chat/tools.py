"""Tools and the choice among them, as chat spells them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.tool_names import INPUT_SCHEMA, flattened, wire_name
from headrace.wire.body import NULL, decode_body, given
from headrace.wire.canonical import CustomTool, FunctionTool, NamespaceTool, OpaqueTool, Request, Tool, ToolChoice

_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None


class _Grammar(msgspec.Struct):
    syntax: str
    definition: str


class _Format(msgspec.Struct):
    type: str
    grammar: _Grammar | None = None


class _Custom(msgspec.Struct):
    name: str
    description: str | None = None
    format: _Format | None = None


class ToolField(msgspec.Struct):
    """One element of `tools`."""

    type: str
    function: _Function | None = None
    custom: _Custom | None = None


class _Named(msgspec.Struct):
    name: str


class _Allowed(msgspec.Struct):
    mode: str = "auto"
    tools: list[_Choice] = []


class _Choice(msgspec.Struct):
    type: str
    function: _Named | None = None
    custom: _Named | None = None
    allowed_tools: _Allowed | None = None

    def named(self) -> str | None:
        chosen = self.function or self.custom
        return None if chosen is None else chosen.name


_choices = msgspec.json.Decoder(str | _Choice | None)


def read_tools(tools: list[ToolField]) -> tuple[Tool, ...]:
    """Tools in neutral form. Raises RequestError: a tool lacks its definition."""
    return tuple(_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools))


def _tool(tool: ToolField, path: str) -> Tool:
    if tool.type == "function" and tool.function is not None:
        function = tool.function
        return FunctionTool(function.name, function.description, given(function.parameters), function.strict)
    if tool.type == "custom" and tool.custom is not None:
        return CustomTool(tool.custom.name, tool.custom.description, _flat_format(tool.custom.format))
    if tool.type in ("function", "custom"):
        raise RequestError(f"{path}.{tool.type}: it is missing; send the tool's definition", f"{path}.{tool.type}")
    return OpaqueTool("chat", tool.type, Raw(msgspec.json.encode(tool)))


def _flat_format(wire: _Format | None) -> Raw | None:
    if wire is None or wire.grammar is None:
        return None
    grammar = wire.grammar
    return Raw(msgspec.json.encode({"type": wire.type, "syntax": grammar.syntax, "definition": grammar.definition}))


def read_choice(value: Raw | None) -> ToolChoice | None:
    """`tool_choice` in neutral form. Raises RequestError: it is no choice."""
    if value is None:
        return None
    choice = decode_body(_choices, value, "a tool choice", "tool_choice")
    if choice is None:
        return None
    if choice == "auto" or choice == "none" or choice == "required":
        return ToolChoice(choice)
    if isinstance(choice, _Choice):
        if choice.named() is not None:
            return ToolChoice("required", choice.named())
        if choice.allowed_tools is not None:
            names = (tool.named() for tool in choice.allowed_tools.tools)
            mode: Literal["auto", "required"] = "required" if choice.allowed_tools.mode == "required" else "auto"
            return ToolChoice(mode, allowed=tuple(name for name in names if name is not None))
    raise RequestError("tool_choice: send auto, none, required, or the tool that must be called", "tool_choice")


def write_tools(request: Request, custom_tools: bool) -> list[dict[str, Any]]:
    """The tools that chat can name; only the allowed ones, where the client allows some."""
    allowed = request.tool_choice.allowed if request.tool_choice is not None else None
    return [
        _function(wire, tool) if isinstance(tool, FunctionTool) else _custom(wire, tool, custom_tools)
        for wire, tool, _ in flattened(request.tools)
        if allowed is None or tool.name in allowed
    ] + [msgspec.json.decode(tool.raw) for tool in request.tools if isinstance(tool, OpaqueTool) and tool.api == "chat"]


def _function(wire: str, tool: FunctionTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": wire}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or _NO_PARAMETERS
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _custom(wire: str, tool: CustomTool, custom_tools: bool) -> dict[str, Any]:
    if not custom_tools:
        return _function(wire, as_function(tool))
    custom: dict[str, Any] = {"name": wire}
    if tool.description is not None:
        custom["description"] = tool.description
    if tool.format is not None:
        form = msgspec.json.decode(tool.format, type=dict[str, Any])
        grammar = {name: form[name] for name in ("syntax", "definition") if name in form}
        custom["format"] = {"type": form.get("type", "text"), **({"grammar": grammar} if grammar else {})}
    return {"type": "custom", "custom": custom}


def as_function(tool: CustomTool) -> FunctionTool:
    """A tool of free text as a function with one string; its grammar joins the description."""
    lines = [tool.description or "", "Put the whole text into `input`."]
    if tool.format is not None:
        form = msgspec.json.decode(tool.format, type=dict[str, Any])
        if "definition" in form:
            lines.append(f"It follows this grammar ({form.get('syntax', 'lark')}):\n{form['definition']}")
    return FunctionTool(tool.name, "\n".join(line for line in lines if line), INPUT_SCHEMA)


def write_choice(request: Request, custom_tools: bool) -> str | dict[str, Any] | None:
    """`tool_choice` for the tools that `write_tools` named."""
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.name is None:
        return choice.mode
    kind, namespace = "function", None
    for wire, tool, group in flattened(request.tools):
        if choice.name in (tool.name, wire):
            namespace = group
            kind = "custom" if isinstance(tool, CustomTool) and custom_tools else "function"
    return {"type": kind, kind: {"name": wire_name(choice.name, namespace)}}


def left_out(tools: tuple[Tool, ...], api: str) -> list[str]:
    """The kinds of tools that only another API's provider can run."""
    return [tool.kind for tool in tools if isinstance(tool, OpaqueTool) and tool.api != api]


def near_enough(tools: tuple[Tool, ...], custom_tools: bool) -> bool:
    """Whether a tool changes its shape: a namespace is flattened, free text becomes a function's string."""
    return any(isinstance(tool, NamespaceTool) or (isinstance(tool, CustomTool) and not custom_tools) for tool in tools)
