"""What an emulated backend reads of a request, and the emulated tokenizer: 4 bytes of content are one token."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from headrace.modelserver import BLOCK_TOKENS
from headrace.wire.canonical import Reasoning, Refusal, Request, Text, ToolCall, ToolResult
from headrace.wire.dialects import Continuation, Dialect

BYTES_PER_TOKEN = 4


class _Message(msgspec.Struct):
    role: str = ""
    content: Any = ""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """A plain chat request, as far as an answer of plain tokens needs it."""

    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    continue_final_message: bool | None = None

    @property
    def ceiling(self) -> int | None:
        """The client's ceiling on output tokens."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a usage chunk is asked for."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def begun(self, dialect: Dialect) -> str:
        """The beginning of the answer that the request gives itself, where this dialect goes on from it."""
        last = self.messages[-1] if self.messages else _Message()
        given = last.role == "assistant" and isinstance(last.content, str)
        return last.content if given and goes_on(dialect, bool(self.continue_final_message)) else ""

    def content(self) -> bytes:
        """All message content, one after the other."""
        parts = (message.content for message in self.messages)
        return b"".join(part.encode() if isinstance(part, str) else msgspec.json.encode(part) for part in parts)


def goes_on(dialect: Dialect, flagged: bool) -> bool:
    """Whether a last message of the assistant's is the beginning of the answer; `flagged`: the request says so."""
    how = dialect.continuation
    return how is Continuation.TRAILING_ASSISTANT or (how is Continuation.CONTINUE_FLAG and flagged)


def begun_by(request: Request, dialect: Dialect) -> str:
    """The beginning of the answer that a request of any API gives itself: a whole prompt may end with it."""
    if request.prompts:
        return request.prompts[0] if isinstance(request.prompts[0], str) else ""
    last = request.turns[-1] if request.turns else None
    flagged = bytes(request.extra.get("continue_final_message", b"false")) == b"true"
    if last is None or last.role != "assistant" or not goes_on(dialect, flagged):
        return ""
    return "".join(part.text for part in last.parts if isinstance(part, Text))


def request_content(request: Request) -> bytes:
    """All text of a request in neutral form, one after the other."""
    texts = [prompt if isinstance(prompt, str) else "tok " * len(prompt) for prompt in request.prompts]
    for turn in request.turns:
        for part in turn.parts:
            match part:
                case Text(text) | Reasoning(text) | Refusal(text):
                    texts.append(text)
                case ToolCall():
                    texts.append(part.arguments)
                case ToolResult(_, content):
                    texts += [piece.text for piece in content if isinstance(piece, Text)]
                case _:
                    pass  # an image has no bytes here
    return "".join(texts).encode("utf-8", "surrogatepass")


def token_count(content: bytes) -> int:
    """Tokens by the emulated tokenizer; at least 1."""
    return max(1, -(-len(content) // BYTES_PER_TOKEN))


def prefix_hashes(content: bytes) -> tuple[int, ...]:
    """One hash for each whole KV block of tokens; it depends on everything up to there."""
    size = BLOCK_TOKENS * BYTES_PER_TOKEN
    state, found = blake2b(digest_size=8), []
    for end in range(size, len(content) + 1, size):
        state.update(content[end - size : end])
        found.append(int.from_bytes(state.digest()))
    return tuple(found)
