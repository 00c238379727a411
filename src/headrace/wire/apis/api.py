"""What an API is to the rest of headrace: readers and writers between its bytes and the neutral form.

Translation from X to Y is the reader of one and the writer of the other, so N APIs take N modules, not N * N. A request
goes client -> `X.read_request` -> `Y.write_request` -> backend; an answer comes back through `Y.stream_reader` (or
`Y.read_answer`) and `X.stream_writer` (or `X.write_answer`).

What the other side cannot say is one of three things, never a silent fourth:

- it would change the answer that the client gets: RequestError, naming the field as the client's API spells it;
- it is a hint or a preference: left out, and named in `Outgoing.dropped`;
- there is something near enough: used, and named in `Outgoing.approximated`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.api import ApiName
from headrace.wire.apis.spelling import SPELLING
from headrace.wire.apis.tool_names import PLAIN, ToolNames
from headrace.wire.canonical import Answer, Event, Opaque, Request, Text, ToolCall, Turn


class Accepts(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend accepts beyond what every backend of its API does.

    Attributes:
        custom_tools: tools that take free text; else they are offered as functions with one string, `input`.
        developer_role: the role `developer`; else it becomes `system`.
        reasoning_field: the field of a past assistant message that takes its reasoning (chat); None: it is left out.
        max_tokens_field: the name of the ceiling of output tokens (chat).
        extensions: fields outside the API that the backend takes (`top_k`, `chat_template_kwargs` ...); they pass from
            any API of the client.
        default_max_output_tokens: the ceiling where the client gives none and the API must have one (messages).
    """

    custom_tools: bool = False
    developer_role: bool = False
    reasoning_field: str | None = None
    max_tokens_field: str = "max_completion_tokens"
    extensions: frozenset[str] = frozenset()
    default_max_output_tokens: int


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it goes to a backend.

    Attributes:
        tools: how to give calls in the answer the names that the client knows: for `stream_reader`, `read_answer`.
        dropped: fields of the client's request that the backend's API cannot say, as the client spelled them.
        approximated: fields that became something near enough.
    """

    body: bytes
    tools: ToolNames = PLAIN
    dropped: tuple[str, ...] = ()
    approximated: tuple[str, ...] = ()


class StreamReader(Protocol):
    """Bytes of a backend's stream in, events out; how the bytes were split makes no difference.

    It never raises: what cannot be read is a `Failed` event, and after that nothing follows.
    """

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes."""

    def close(self, explicit: bool) -> list[Event]:
        """What the end of the body means.

        Args:
            explicit: the framing has shown that the body is all there, not only that the connection is gone.
        """


class StreamWriter(Protocol):
    """Events in, bytes of the client's stream out."""

    def write(self, event: Event) -> bytes:
        """The bytes that say this event; empty where they must wait for another. `Failed` is a clear, impolite end."""

    def write_all(self, events: list[Event]) -> bytes:
        """The bytes of several events."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """One API, both directions. Functions that take bytes of a client raise RequestError, of a backend BackendError.

    Attributes:
        wire_request: what a request is decoded with.
        stream_writer: takes the client's request, an id unique to this answer (letters and digits; each API puts its
            prefix before it) and the Unix time.
        write_answer: takes the answer, the request and such an id.
    """

    name: ApiName
    path: str
    wire_request: type[msgspec.Struct]
    read_request: Callable[[bytes], Request]
    write_request: Callable[[Request, Accepts], Outgoing]
    read_answer: Callable[[bytes, ToolNames], Answer]
    write_answer: Callable[[Answer, Request, str], bytes]
    stream_reader: Callable[[ToolNames], StreamReader]
    stream_writer: Callable[[Request, str, int], StreamWriter]


_ESSENTIAL = frozenset(("item_reference", "compaction", "compaction_trigger"))

# Fields of one API that change the answer and that no other API can say. Completions; then Responses; then Messages.
_ANSWER_CHANGING = (
    "suffix",
    "echo",
    "best_of",
    "background",
    "conversation",
    "prompt",
    "mcp_servers",
    "prefill",
    "audio",
)
_DEFAULTS = (b"null", b"false", b"1", b'""')


class Report:
    """Collects what a request loses on its way to another API."""

    def __init__(self, request: Request, target: ApiName) -> None:
        self._request = request
        self._names = SPELLING[request.api]
        self._target = target
        self.dropped: list[str] = []
        self.approximated: list[str] = []

    def _spelled(self, field: str) -> str:
        name, bracket, rest = field.partition("[")
        return self._names.get(name, name) + bracket + rest

    def drop(self, field: str, given: object = True) -> None:
        """The field is left out, if the client gave it."""
        name = self._spelled(field)
        if given is not None and given is not False and given != () and name not in self.dropped:
            self.dropped.append(name)

    def approximate(self, field: str) -> None:
        """The field became something near enough."""
        name = self._spelled(field)
        if name not in self.approximated:
            self.approximated.append(name)

    def reshaped(self, call: ToolCall) -> None:
        """A call whose tool has another shape on this side: of free text, or in a namespace."""
        if call.custom or call.namespace is not None:
            self.approximate("tools")

    def refuse(self, field: str, given: object, why: str) -> None:
        """Raises RequestError if the client gave the field."""
        if given is not None and given is not False and given != ():
            name = self._spelled(field)
            message = (
                f"{name}: {why}, and the model is served by the {self._target} API; leave it out or ask another model"
            )
            raise RequestError(message, name)

    def opaque(self, part: Opaque) -> None:
        """A part that only another API understands is left out; RequestError if the conversation stands on it."""
        if part.kind in _ESSENTIAL:
            self.refuse(f"turns[{part.kind}]", True, "it stands for something that only its provider has")
        self.drop(f"turns[{part.kind}]")

    def turns(self) -> tuple[Turn, ...]:
        """The turns; a bare prompt is the user's only one, which is near enough: a chat template goes around it."""
        request = self._request
        if not request.prompts:
            return request.turns
        prompt = request.prompts[0]
        self.refuse("prompts", len(request.prompts) > 1, "a conversation has one prompt")
        self.refuse("prompts", not isinstance(prompt, str), "token ids have no place in a conversation")
        self.approximate("prompts")
        return (Turn("user", (Text(str(prompt)),)),)

    def extras(self, accepts: Accepts) -> dict[str, Raw]:
        """The fields without a neutral name that pass: those of the same API, and the backend's extensions."""
        passed = {}
        for name in _ANSWER_CHANGING if self._request.api != self._target else ():
            value = self._request.extra.get(name)
            self.refuse(name, value is not None and bytes(value) not in _DEFAULTS, "that API cannot do it")
        for name, value in self._request.extra.items():
            if self._request.api == self._target or name in accepts.extensions:
                passed[name] = value
            else:
                self.dropped.append(name)
        return passed
