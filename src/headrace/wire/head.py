"""The head of a request: what routing must know of it, and the edits that routing makes.

Of a request body only the few fields that routing needs are decoded; the rest is checked to be JSON and skipped. Edits
keep every other byte: either one insertion after the first brace, or a rewrite of the top level that carries each
value over as it came.

A client may say in the body what it says in headers of headrace's own: in the field `headrace`, which no backend sees.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Raw, UnsetType

from headrace.wire.api import ApiName
from headrace.wire.body import NULL, check_utf8, decode_body, top_level

CONTROLS_FIELD = "headrace"
_CEILINGS = ("max_completion_tokens", "max_tokens")  # of a chat; of a completion, the second alone
_INCLUDE_USAGE = b'"stream_options":{"include_usage":true},'


class StreamOptions(msgspec.Struct, gc=False):
    """What a client asks of a stream."""

    include_usage: bool | None = None


class Head(msgspec.Struct, gc=False):
    """What routing must know of a request of any API.

    Attributes:
        headrace: what the client asks of headrace itself, as it came.
    """

    model: str
    stream: bool | None = None
    headrace: Raw = NULL

    @property
    def include_usage(self) -> bool:
        """Whether a stream says its usage as it is: elsewhere than in chat and completions it always does."""
        return True

    @property
    def output_ceiling(self) -> int | None:
        """The client's ceiling of output tokens, over all its choices; None without one."""
        return None

    @property
    def choices(self) -> int:
        """Answers that the client asked for."""
        return 1


class ChatHead(Head, gc=False):
    """The head of a chat completion request, or of a legacy completion.

    Attributes:
        stream_options: UNSET when the body does not name it, None when it says null.
    """

    stream_options: StreamOptions | UnsetType | None = UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the client asked for the usage chunk itself."""
        return isinstance(self.stream_options, StreamOptions) and bool(self.stream_options.include_usage)

    @property
    def output_ceiling(self) -> int | None:
        """The client's ceiling over all its choices; None without one."""
        ceiling = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        if ceiling is None:
            return None
        each = ceiling if ceiling > 0 else 0
        return each if self.n is None else each * self.choices

    @property
    def choices(self) -> int:
        """Answers that the client asked for."""
        return max(self.n or 1, 1)


class ResponsesHead(Head, gc=False):
    """The head of a request of the Responses API; without `store` the answer is stored."""

    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    store: bool | None = None

    @property
    def output_ceiling(self) -> int | None:
        """The client's ceiling; None without one."""
        return None if self.max_output_tokens is None else max(self.max_output_tokens, 0)


class MessagesHead(Head, gc=False):
    """The head of a request of the Messages API."""

    max_tokens: int | None = None

    @property
    def output_ceiling(self) -> int | None:
        """The client's ceiling; None without one."""
        return None if self.max_tokens is None else max(self.max_tokens, 0)


_DECODERS: Mapping[ApiName, tuple[msgspec.json.Decoder[Head], str]] = {
    "chat": (msgspec.json.Decoder(ChatHead), "a chat completion request"),
    "completions": (msgspec.json.Decoder(ChatHead), "a completion request"),
    "responses": (msgspec.json.Decoder(ResponsesHead), "a request of the Responses API"),
    "messages": (msgspec.json.Decoder(MessagesHead), "a request of the Messages API"),
    "embeddings": (msgspec.json.Decoder(Head), "an embedding request"),
}


def decode_head(api: ApiName, body: bytes) -> Head:
    """The head of a request.

    Raises:
        RequestError: the body is not JSON, or a field has the wrong type; the message says where.
    """
    decoder, what = _DECODERS[api]
    check_utf8(body)
    return decode_body(decoder, body, what)


def with_include_usage(body: bytes, head: Head) -> bytes:
    """The body, asking for the usage chunk of a stream; unchanged if it asks already, or need not."""
    if head.include_usage or not isinstance(head, ChatHead):
        return body
    if head.stream_options is UNSET:
        brace = body.index(b"{") + 1
        return b"%b%b%b" % (body[:brace], _INCLUDE_USAGE, body[brace:])
    fields = top_level(body)
    options = {} if head.stream_options is None else msgspec.json.decode(fields["stream_options"], type=dict[str, Raw])
    options["include_usage"] = Raw(b"true")
    fields["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


def with_output_ceiling(body: bytes, api: ApiName, ceiling: int) -> bytes:
    """The body of a chat completion or completion, with this ceiling on its output whatever it had before."""
    fields = top_level(body)
    named = [name for name in _CEILINGS if name in fields] or [_CEILINGS[api == "completions"]]
    fields.update(dict.fromkeys(named, Raw(b"%d" % ceiling)))
    return msgspec.json.encode(fields)


def without_controls(body: bytes) -> bytes:
    """The body without what the client asks of headrace itself."""
    fields = top_level(body)
    fields.pop(CONTROLS_FIELD, None)
    return msgspec.json.encode(fields)
