"""The head of a large request, and how many messages and tools it has: in the one pass that decodes the head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.api import ApiName
from headrace.wire.body import check_utf8, decode_body
from headrace.wire.head import ChatHead, Head, MessagesHead, ResponsesHead, decode_head

SMALLEST_ENTRY_BYTES = 12  # a tool: {"type":"a"}; no message is smaller


class _CountedChat(ChatHead, gc=False):
    messages: list[Raw] | None = None
    tools: list[Raw] | None = None
    functions: list[Raw] | None = None


class _CountedResponses(ResponsesHead, gc=False):
    input: list[Raw] | str | None = None
    tools: list[Raw] | None = None


class _CountedMessages(MessagesHead, gc=False):
    messages: list[Raw] | None = None
    tools: list[Raw] | None = None


_DECODERS: Mapping[ApiName, tuple[msgspec.json.Decoder[Any], str]] = {
    "chat": (msgspec.json.Decoder(_CountedChat), "a chat completion request"),
    "responses": (msgspec.json.Decoder(_CountedResponses), "a request of the Responses API"),
    "messages": (msgspec.json.Decoder(_CountedMessages), "a request of the Messages API"),
}


def counted_head(api: ApiName, body: bytes, max_messages: int, max_tools: int) -> Head:
    """The head of a request that has no more than so many messages and tools.

    Raises:
        RequestError: it has more, or is no request of this API.
    """
    found = _DECODERS.get(api)
    if found is None:
        return decode_head(api, body)
    check_utf8(body)
    head: Head = decode_body(found[0], body, found[1])
    for most, names in ((max_messages, ("messages", "input")), (max_tools, ("tools", "functions"))):
        for name in names:
            entries = getattr(head, name, None)
            if isinstance(entries, list) and len(entries) > most:
                raise RequestError(f"{name} has {len(entries)} entries, and at most {most} are taken; send fewer", name)
    return head
