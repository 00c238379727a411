"""Tools and the choice among them, as Responses spells them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.tool_names import flattened
from headrace.wire.body import NULL, decode_body, given
from headrace.wire.canonical import CustomTool, FunctionTool, NamespaceTool, OpaqueTool, Request, Tool, ToolChoice


class _Kind(msgspec.Struct):
    type: str


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None


class _Custom(msgspec.Struct):
    name: str
    description: str | None = None
    format: Raw = NULL


class _Namespace(msgspec.Struct):
    name: str
    tools: list[Raw]
    description: str | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[_Choice] | None = None


_kinds = msgspec.json.Decoder(_Kind)
_functions = msgspec.json.Decoder(_Function)
_customs = msgspec.json.Decoder(_Custom)
_namespaces = msgspec.json.Decoder(_Namespace)
_choices = msgspec.json.Decoder(str | _Choice | None)


def read_tools(tools: list[Raw]) -> tuple[Tool, ...]:
    """Tools in neutral form. Raises RequestError: one is no tool."""
    return tuple(_tool(raw, f"tools[{at}]") for at, raw in enumerate(tools))


def _tool(raw: Raw, path: str) -> Tool:
    kind = decode_body(_kinds, raw, "a tool", path).type
    if kind == "namespace":
        group = decode_body(_namespaces, raw, "a namespace", path)
        inner = [_tool(one, f"{path}.tools[{at}]") for at, one in enumerate(group.tools)]
        named = tuple(one for one in inner if isinstance(one, FunctionTool | CustomTool))
        return NamespaceTool(group.name, group.description, named)
    if kind == "function":
        function = decode_body(_functions, raw, "a function", path)
        return FunctionTool(function.name, function.description, given(function.parameters), function.strict)
    if kind == "custom":
        custom = decode_body(_customs, raw, "a custom tool", path)
        return CustomTool(custom.name, custom.description, given(custom.format))
    return OpaqueTool("responses", kind, raw)


def read_choice(value: Raw | None) -> tuple[ToolChoice | None, bool]:
    """`tool_choice` in neutral form, and whether it is a provider's own tool. Raises RequestError: it is no choice."""
    if value is None:
        return None, False
    choice = decode_body(_choices, value, "a tool choice", "tool_choice")
    if choice == "auto" or choice == "none" or choice == "required":
        return ToolChoice(choice), False
    if not isinstance(choice, _Choice):
        raise RequestError("tool_choice: send auto, none, required, or the tool that must be called", "tool_choice")
    if choice.type in ("function", "custom") and choice.name is not None:
        return ToolChoice("required", choice.name), False
    if choice.type == "allowed_tools":
        names = tuple(tool.name for tool in choice.tools or () if tool.name is not None)
        return ToolChoice("required" if choice.mode == "required" else "auto", allowed=names), False
    return None, True


def write_tools(request: Request) -> list[Any]:
    """All tools of the request that Responses can name."""
    strict = None if request.api == "responses" else False  # strict is the default here, and nowhere else
    written: list[Any] = []
    for tool in request.tools:
        if isinstance(tool, NamespaceTool):
            inner = [_write(one, strict) for one in tool.tools]
            group = {"type": "namespace", "name": tool.name, "description": tool.description or "", "tools": inner}
            written.append(group)
        elif isinstance(tool, OpaqueTool):
            if tool.api == "responses":
                written.append(tool.raw)
        else:
            written.append(_write(tool, strict))
    return written


def _write(tool: FunctionTool | CustomTool, strict: bool | None) -> dict[str, Any]:
    described = {} if tool.description is None else {"description": tool.description}
    if isinstance(tool, CustomTool):
        return {"type": "custom", "name": tool.name, **described, **({"format": tool.format} if tool.format else {})}
    strictness = strict if tool.strict is None else tool.strict
    return {"type": "function", "name": tool.name, **described, "parameters": tool.parameters, "strict": strictness}


def write_choice(request: Request) -> str | dict[str, Any] | None:
    """`tool_choice` for the tools that `write_tools` named."""
    choice = request.tool_choice
    if choice is None:
        return None
    kinds = {
        tool.name: "custom" if isinstance(tool, CustomTool) else "function" for _, tool, _ in flattened(request.tools)
    }
    if choice.name is not None:
        return {"type": kinds.get(choice.name, "function"), "name": choice.name}
    if choice.allowed is None:
        return choice.mode
    tools = [{"type": kinds.get(name, "function"), "name": name} for name in choice.allowed]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}
