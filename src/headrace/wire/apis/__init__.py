"""Readers and writers of every API, between bytes and the neutral form of `wire.canonical`."""

from headrace.wire.api import ApiName
from headrace.wire.apis.api import Accepts, Api, Outgoing, StreamReader, StreamWriter
from headrace.wire.apis.chat import CHAT
from headrace.wire.apis.completions import COMPLETIONS
from headrace.wire.apis.messages import MESSAGES, read_count, read_count_request, write_count
from headrace.wire.apis.responses import RESPONSES
from headrace.wire.apis.tool_names import PLAIN, ToolName, ToolNames

APIS: dict[ApiName, Api] = {api.name: api for api in (CHAT, COMPLETIONS, RESPONSES, MESSAGES)}

__all__ = [
    "APIS",
    "CHAT",
    "COMPLETIONS",
    "MESSAGES",
    "PLAIN",
    "RESPONSES",
    "Accepts",
    "Api",
    "ApiName",
    "Outgoing",
    "StreamReader",
    "StreamWriter",
    "ToolName",
    "ToolNames",
    "read_count",
    "read_count_request",
    "write_count",
]
