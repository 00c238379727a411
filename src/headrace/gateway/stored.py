"""Stored answers of the Responses API, for conversations that go on by `previous_response_id`.

The state is headrace's own, not a backend's: the next turn may go to another backend, of another API. What is kept is
the bytes of request and answer; they are taken apart only when a request goes on from them, so that an answer that
passes unread stays unread. Who asks must be who asked: an id is known only to the key that it was given to, or where
there are no keys, beside the credential.

The store is in memory, bounded in entries and bytes; the oldest unused goes first. Workers share theirs (`shelves`):
each drops what it has stored itself by its own bounds, and any of them goes on from it. What is gone is an error in the
API's own words, and the client sends its whole history again, as it would after OpenAI's thirty days.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import msgspec
from msgspec import Raw

from headrace.errors import UnknownResponse
from headrace.gateway.shelves import Kept, Key, OwnShelf, Shelf
from headrace.wire.body import NOT_JSON, NULL, decode_body, given, top_level
from headrace.wire.sse import EventReader

Items = tuple[Raw, ...]
_ID = re.compile(rb'"id" ?: ?"(resp_[\w.-]{1,200})"')
_ENTRY_BYTES = 512  # what an entry takes beside its bytes


class _Answer(msgspec.Struct):
    output: tuple[Raw, ...] = ()


class _Event(msgspec.Struct):
    type: str = ""
    response: Raw = NULL


_answers = msgspec.json.Decoder(_Answer)
_events = msgspec.json.Decoder(_Event)
_inputs = msgspec.json.Decoder(str | list[Raw])
_ENDS = ("response.completed", "response.incomplete")
_END_LINES = tuple(f"\nevent: {name}".encode() for name in _ENDS)


def _size(kept: Kept) -> int:
    """Bytes that an answer takes."""
    return _ENTRY_BYTES + len(kept.body) + len(kept.answer)


def _items(kept: Kept) -> Items:
    """The conversation with the answer."""
    found = _response(kept.answer)
    return input_items(top_level(kept.body)) + (() if found is None else _answers.decode(found).output)


class ResponseStore:
    """The answers that clients may go on from.

    Args:
        max_entries: most answers; 0: nothing is stored.
        max_bytes: most bytes of them, together.
        shelf: where they lie; None: in this process.
    """

    def __init__(self, max_entries: int, max_bytes: int, shelf: Shelf | None = None) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._shelf = OwnShelf() if shelf is None else shelf
        self._sizes: OrderedDict[Key, int] = OrderedDict()  # in bytes, of those that were stored here
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """What the stored answers take."""
        return self._bytes

    def continued(self, owner: bytes, response_id: str, body: bytes) -> bytes:
        """The body of a request, with the conversation so far in the place of the id that stood for it.

        Args:
            owner: who asks.

        Raises:
            UnknownResponse: no such answer is stored for this owner.
        """
        key = owner, response_id
        kept = self._shelf.get(key)
        if kept is None:
            message = f"previous_response_id: {response_id!r} is not stored here, or not any more; send the whole input"
            raise UnknownResponse(message, "previous_response_id")
        if key in self._sizes:
            self._sizes.move_to_end(key)
        fields = top_level(body)
        fields.pop("previous_response_id", None)
        items = (*_items(kept), *input_items(fields))
        fields["input"] = Raw(msgspec.json.encode(items))
        return msgspec.json.encode(fields)

    def keep(self, owner: bytes, body: bytes, answer: bytes) -> str | None:
        """Keep the answer to a request, whose body holds the whole conversation before it.

        Args:
            answer: a response object, or the end of a stream that holds one. Without an id it is not kept.

        Returns:
            The id that it is kept by; None: it is not.
        """
        answer = _from_end_event(answer)
        found = _ID.search(answer)
        kept = Kept(body, answer)
        size = _size(kept)
        if found is None or size > self._max_bytes or not self._max_entries:
            return None
        key = owner, found[1].decode()
        self._forget(key)
        while self._sizes and (self._bytes + size > self._max_bytes or len(self._sizes) >= self._max_entries):
            self._forget(next(iter(self._sizes)))
        try:
            self._shelf.put(key, kept)
        except OSError:
            return None
        self._sizes[key] = size
        self._bytes += size
        return key[1]

    def response(self, owner: bytes, response_id: str) -> bytes | None:
        """A stored answer as a response object; None: it is not stored for this owner."""
        kept = self._shelf.get((owner, response_id))
        return None if kept is None else _response(kept.answer)

    def input_list(self, owner: bytes, response_id: str) -> bytes | None:
        """The conversation before a stored answer, as OpenAI lists it; None: it is not stored for this owner."""
        kept = self._shelf.get((owner, response_id))
        if kept is None:
            return None
        items = input_items(top_level(kept.body))
        return msgspec.json.encode({"object": "list", "data": items, "has_more": False})

    def forget(self, owner: bytes, response_id: str) -> None:
        """Let go of an answer."""
        self._forget((owner, response_id))

    def _forget(self, key: Key) -> None:
        self._shelf.drop(key)
        self._bytes -= self._sizes.pop(key, 0)


def input_items(fields: dict[str, Raw]) -> Items:
    """The input of a request as items, each as it came. Raises RequestError: it is neither text nor a list."""
    value = given(fields.get("input", NULL))
    if value is None:
        return ()
    found = decode_body(_inputs, value, "text or a list of items", "input")
    if isinstance(found, str):
        return (Raw(msgspec.json.encode({"type": "message", "role": "user", "content": found})),)
    return tuple(found)


def _from_end_event(answer: bytes) -> bytes:
    """Without the events before the last, which holds all that they said; a stream that names no events stays whole."""
    start = max(answer.rfind(line) for line in _END_LINES)
    return answer[start + 1 :] if start >= 0 else answer


def _response(answer: bytes) -> bytes | None:
    """The response object in an answer, whole or streamed; None: there is none that can be read."""
    try:
        if answer.lstrip()[:1] == b"{":
            _answers.decode(answer)
            return answer
        for data in reversed(EventReader().feed(answer + b"\n\n")):
            if data.startswith(b"{"):
                event = _events.decode(data)
                if event.type in _ENDS:
                    _answers.decode(event.response)
                    return bytes(event.response)
    except (*NOT_JSON, ValueError):
        pass
    return None
