"""Names of tools on the wire, and the way back to the names that the client knows.

Two things have no name in plain chat: a tool in a namespace, and a tool that takes free text. The first is offered as
`namespace__name`; the second as a function with one string, `input`. Both ways are functions of the name alone, so
calls in the history get the same names as the tools; the way back needs the table of this request.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.canonical import CustomTool, FunctionTool, NamespaceTool, Tool

MAX_NAME = 64  # characters of a function's name; source: OpenAI's API description, FunctionObject.name
INPUT_SCHEMA = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)


class ToolName(msgspec.Struct, frozen=True):
    """A tool as the client knows it; `wrapped`: its free text travels as the string `input` of a JSON object."""

    name: str
    namespace: str | None = None
    custom: bool = False
    wrapped: bool = False


class ToolNames(msgspec.Struct, frozen=True):
    """From names on the wire to names of the client, for those that differ in any way."""

    by_wire: dict[str, ToolName]

    def find(self, wire: str) -> ToolName:
        """The client's name for a call of `wire`."""
        return self.by_wire.get(wire) or ToolName(wire)


PLAIN = ToolNames({})


def wire_name(name: str, namespace: str | None) -> str:
    """The name of a tool where there are no namespaces; too long a one ends in a checksum of the whole."""
    if namespace is None:
        return name
    joined = f"{namespace}__{name}"
    if len(joined) <= MAX_NAME:
        return joined
    return f"{joined[: MAX_NAME - 9]}_{zlib.crc32(joined.encode()):08x}"


def wrapped_arguments(text: str) -> str:
    """Free text as the arguments of a function."""
    return msgspec.json.encode({"input": text}).decode()


def flattened(tools: Iterable[Tool]) -> list[tuple[str, FunctionTool | CustomTool, str | None]]:
    """Wire name, tool and namespace of every function and custom tool."""
    flat: list[tuple[str, FunctionTool | CustomTool, str | None]] = []
    for tool in tools:
        if isinstance(tool, NamespaceTool):
            flat += [(wire_name(one.name, tool.name), one, tool.name) for one in tool.tools]
        elif isinstance(tool, FunctionTool | CustomTool):
            flat.append((tool.name, tool, None))
    return flat


def tool_names(tools: Iterable[Tool], custom_tools: bool) -> ToolNames:
    """The way back for these tools.

    Args:
        custom_tools: the backend takes tools with free text as such.

    Raises:
        RequestError: two tools have one name on the wire.
    """
    found: dict[str, ToolName] = {}
    for wire, tool, namespace in flattened(tools):
        if wire in found:
            raise RequestError(f"tools: two tools are called {wire!r}; give each its own name", "tools")
        custom = isinstance(tool, CustomTool)
        found[wire] = ToolName(tool.name, namespace, custom, custom and not custom_tools)
    return ToolNames({wire: name for wire, name in found.items() if name != ToolName(wire)})
