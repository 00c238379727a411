"""Where in its API's form a stream stands that passed as it came: one small reader for each API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from headrace.wire.api import ApiName
from headrace.wire.apis.api import StreamWriter
from headrace.wire.apis.chat.write_answer import ChatStreamWriter
from headrace.wire.apis.completions.answers import CompletionsStreamWriter
from headrace.wire.apis.messages.write_answer import MessagesStreamWriter
from headrace.wire.apis.responses.write_answer import ResponsesStreamWriter
from headrace.wire.body import NOT_JSON, NULL
from headrace.wire.canonical import Request, Started
from headrace.wire.usage import DONE_DATA

_encode = msgspec.json.encode


class Place(Protocol):
    """Follows one stream."""

    @property
    def closing(self) -> bytes:
        """What ends the stream after its finish reason has passed; empty: nothing is missing then."""

    @property
    def obstacle(self) -> str:
        """Why no writer can go on from here; empty: one can."""

    def see(self, data: bytes) -> None:
        """The data of one more event; never raises."""

    def complete(self, name: str) -> bytes:
        """Data for an event of this name that changes nothing, or is the last; empty: there is none."""

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """What writes the rest, and what it has to say before anything else."""


class _Chunk(msgspec.Struct):
    """What all chunks of one answer have in common."""

    id: Raw = NULL
    object: Raw = NULL
    created: Raw = NULL
    model: Raw = NULL
    system_fingerprint: Raw = NULL
    choices: Raw = NULL


_chunks = msgspec.json.Decoder(_Chunk)


class ChunkPlace:
    """Chat and completions: every chunk has the same head."""

    closing = b"data: %b\n\n" % DONE_DATA
    obstacle = ""

    def __init__(self) -> None:
        self._head = b""

    def see(self, data: bytes) -> None:
        """Take the head from the first chunk that has one."""
        if self._head or not data.startswith(b"{"):
            return
        try:
            chunk = _chunks.decode(data)
        except NOT_JSON:
            return
        if bytes(chunk.id) != b"null":
            named = {name: getattr(chunk, name) for name in _Chunk.__struct_fields__[:-1]}
            given = {name: value for name, value in named.items() if bytes(value) != b"null"}
            self._head = b"data: %b," % _encode(given)[:-1]

    def complete(self, name: str) -> bytes:
        """Chunks have no names."""
        return b""

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """Chunks with the answer's head."""
        made = (ChatStreamWriter if request.api == "chat" else CompletionsStreamWriter)(request, answer_id, created_s)
        if self._head:
            made.go_on(self._head)
        return made, b""


class _Block(msgspec.Struct):
    type: str = ""


class _MessagesEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: _Block | None = None


_STOP = b'{"type":"message_stop"}'
_messages_events = msgspec.json.Decoder(_MessagesEvent)


class MessagesPlace:
    """Messages: blocks, of which one may be open."""

    obstacle = ""

    def __init__(self) -> None:
        self.closing = b"event: message_stop\ndata: %b\n\n" % _STOP
        self._begun = False
        self._index = -1
        self._open = ""

    def see(self, data: bytes) -> None:
        """Follow the blocks."""
        try:
            event = _messages_events.decode(data)
        except NOT_JSON:
            return
        self._begun = self._begun or event.type == "message_start"
        if event.type == "content_block_start":
            self._index, self._open = event.index, event.content_block.type if event.content_block else ""
        elif event.type == "content_block_stop":
            self._open = ""

    def complete(self, name: str) -> bytes:
        """A piece without text, or the last event."""
        if name == "message_stop":
            self.closing = b""
            return _STOP
        if name != "content_block_delta" or self._open != "text":
            return b""
        return b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":""}}' % self._index

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """Go on in the text that is open, or begin the next block."""
        made = MessagesStreamWriter(request, answer_id, created_s)
        if not self._begun:
            return made, made.write(Started())
        made.go_on(self._index, self._open == "text")
        stop = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index
        return made, stop if self._open not in ("", "text") else b""


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    created_at: float | None = None


class _Item(msgspec.Struct):
    type: str = ""
    id: str = ""


class _ResponsesEvent(msgspec.Struct):
    type: str = ""
    sequence_number: int = -1
    response: Raw = NULL
    item: Raw = NULL
    delta: str | None = None


_responses_events = msgspec.json.Decoder(_ResponsesEvent)
_responses = msgspec.json.Decoder(_Response)
_items = msgspec.json.Decoder(_Item)
_NOTHING, _ITEM, _PART, _TEXT_DONE, _PART_DONE = range(5)  # how far the item that is open is


class ResponsesPlace:
    """Responses: numbered events, items that are done, and one that may be open."""

    closing = b""

    def __init__(self) -> None:
        self._started = Started()
        self._sequence = 0
        self._items: list[bytes] = []
        self._item = _Item()
        self._stage = _NOTHING
        self._text: list[str] = []
        self._handlers: dict[str, Callable[[_ResponsesEvent], None]] = {
            "response.created": self._created,
            "response.output_item.added": self._added,
            "response.content_part.added": lambda event: self._reach(_PART),
            "response.output_text.delta": self._delta,
            "response.output_text.done": lambda event: self._reach(_TEXT_DONE),
            "response.content_part.done": lambda event: self._reach(_PART_DONE),
            "response.output_item.done": self._done,
        }

    def see(self, data: bytes) -> None:
        """Follow the items."""
        try:
            event = _responses_events.decode(data)
            self._sequence = max(self._sequence, event.sequence_number + 1)
            handler = self._handlers.get(event.type)
            if handler is not None:
                handler(event)
        except NOT_JSON:
            return

    def complete(self, name: str) -> bytes:
        """A piece without text."""
        if name != "response.output_text.delta" or self._stage != _PART or self._item.type != "message":
            return b""
        number, self._sequence = self._sequence, self._sequence + 1
        return (
            b'{"type":"response.output_text.delta","item_id":%b,"output_index":%d,"content_index":0,"delta":"",'
            b'"logprobs":[],"sequence_number":%d}'
        ) % (_encode(self._item.id), len(self._items), number)

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """Go on in the text of the message that is open, or begin the next item."""
        made = ResponsesStreamWriter(request, answer_id, created_s)
        if not self._started.id:
            return made, made.write(Started())
        made.go_on(self._started, self._sequence, self._items)
        if self._stage == _NOTHING:
            return made, b""
        made.go_on_in_message(self._item.id, "".join(self._text))
        if self._stage == _ITEM:
            return made, made.begin_text()
        return made, b"" if self._stage == _PART else made.end_message(self._stage - _PART)

    @property
    def obstacle(self) -> str:
        """Only a message is gone on with."""
        return f"it broke off inside a {self._item.type}" if self._stage and self._item.type != "message" else ""

    def _created(self, event: _ResponsesEvent) -> None:
        response = _responses.decode(event.response)
        self._started = Started(response.id, response.model, int(response.created_at or 0))

    def _added(self, event: _ResponsesEvent) -> None:
        self._item, self._stage, self._text = _items.decode(event.item), _ITEM, []

    def _delta(self, event: _ResponsesEvent) -> None:
        self._stage = _PART
        self._text.append(event.delta or "")

    def _reach(self, stage: int) -> None:
        self._stage = stage

    def _done(self, event: _ResponsesEvent) -> None:
        self._items.append(bytes(event.item))
        self._stage = _NOTHING


PLACES: dict[ApiName, Callable[[], Place]] = {
    "chat": ChunkPlace,
    "completions": ChunkPlace,
    "messages": MessagesPlace,
    "responses": ResponsesPlace,
}
