"""Usage: what a backend says an answer cost, read from the end of the answer, and what can be counted without it.

A stream's usage sits in its last events, so only those are decoded. A stream that breaks has none: then the events
that carry a piece of the answer are counted. Each holds at least one token, so the count is a lower bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Raw

DONE_DATA = b"[DONE]"
BROKEN_OFF = ("abort", "error")  # finish reasons of vLLM and SGLang for an answer that the server itself gave up
MAX_DECODED_BYTES = 64 * 1024
CONTENT = re.compile(rb'"(?:content|reasoning|reasoning_content|refusal|arguments)" ?: ?"[^"]')
_EMPTY = frozenset((b'""', b"null", b"[]", b"{}"))
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Usage(NamedTuple):
    """Tokens as the backend counted them.

    Attributes:
        input_tokens: all of them, whether read from a cache, written to one, or neither.
        output_tokens: all of them, reasoning included.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class StreamEnd(NamedTuple):
    """What the end of a stream says.

    Attributes:
        finished: an event gave a finish reason.
        done: the `[DONE]` event came.
        failed: an event carried an error, or a finish reason that is one.
        usage: None if no event had it.
    """

    finished: bool
    done: bool
    failed: bool
    usage: Usage | None


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


def _count(tokens: int | None) -> int:
    return tokens if tokens is not None and tokens > 0 else 0


class ChatUsage(msgspec.Struct, gc=False):
    """`usage` as chat and completions spell it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        """The neutral form; never negative."""
        read, written = self.prompt_tokens_details, self.completion_tokens_details
        cached = cache_write = reasoning = 0
        if read is not None:
            cached, cache_write = _count(read.cached_tokens), _count(read.cache_write_tokens)
        if written is not None:
            reasoning = _count(written.reasoning_tokens)
        prompt, completion = _count(self.prompt_tokens), _count(self.completion_tokens)
        return tuple.__new__(Usage, (prompt, completion, cached, cache_write, reasoning))  # what `Usage(...)` comes to


class GroqExtra(msgspec.Struct, gc=False):
    """`x_groq` of Groq's last chunk."""

    usage: ChatUsage | None = None
    error: str | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _FirstChoice(msgspec.Struct, gc=False):
    delta: dict[str, Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None

    def begun(self) -> bool:
        if self.finish_reason or self.text:
            return True
        return any(name != "role" and bytes(value) not in _EMPTY for name, value in (self.delta or {}).items())


class _First(msgspec.Struct):
    """A chunk, as far as it tells whether the answer has begun."""

    choices: list[_FirstChoice] | None = None


class _Answer(msgspec.Struct):
    """A chunk or a whole completion, as far as its end matters."""

    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    x_groq: GroqExtra | None = None
    error: Raw = Raw(b"null")

    def failed(self) -> bool:
        return bytes(self.error) != b"null" or (self.x_groq is not None and self.x_groq.error is not None)

    def used(self) -> Usage | None:
        if self.usage is not None:
            return self.usage.usage()
        if self.x_groq is not None and self.x_groq.usage is not None:
            return self.x_groq.usage.usage()
        return None


_firsts = msgspec.json.Decoder(_First)
_answers = msgspec.json.Decoder(_Answer)
_usages = msgspec.json.Decoder(ChatUsage)


def event_data(event: bytes) -> bytes:
    """The data of one server-sent event, its lines joined; empty for a comment."""
    if event.startswith(b"data:") and b"\n" not in event.strip(b"\r\n"):
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def stream_end(tail: bytes) -> StreamEnd:
    """Read the end of a stream from its last bytes; a first event that is cut off is not looked at."""
    finished = done = failed = False
    usage: Usage | None = None
    for event in _BLANK_LINE.split(tail):
        data = event_data(event)
        if data == DONE_DATA:
            done = True
        if not data.startswith(b"{"):
            continue
        try:
            answer = _answers.decode(data)
        except _UNREADABLE:
            continue
        usage = answer.used() or usage
        reasons = [choice.finish_reason for choice in answer.choices or () if choice.finish_reason]
        failed = failed or answer.failed() or any(reason in BROKEN_OFF for reason in reasons)
        finished = finished or bool(reasons)
    return StreamEnd(finished, done, failed, usage)


def is_usage_event(event: bytes) -> bool:
    """Whether this event is the extra chunk that only carries usage: no choices, but a usage."""
    if b'"usage"' not in event:
        return False
    try:
        answer = _answers.decode(event_data(event))
    except _UNREADABLE:
        return False
    return not answer.choices and answer.usage is not None


def has_token(payload: bytes) -> bool:
    """Whether the beginning of a stream has come as far as its first token.

    A first chunk that only names the role has none, nor has a comment. A finish reason or an end counts as one: nothing
    is left to wait for.
    """
    if payload.endswith(b"\n\n") and CONTENT.search(payload) is not None:
        return True  # the usual case, without decoding: inside a JSON string the quotes would be escaped
    for event in _BLANK_LINE.split(payload)[:-1]:
        data = event_data(event)
        if data == DONE_DATA:
            return True
        if not data.startswith(b"{"):
            continue
        try:
            choices = _firsts.decode(data).choices
        except _UNREADABLE:
            return True
        if any(choice.begun() for choice in choices or ()):
            return True
    return False


class Used(Protocol):
    """Usage as an API spells it."""

    def usage(self) -> Usage:
        """The neutral form."""


def whole_usage(
    body: bytes, whole: bool, answers: Callable[[bytes], Usage | None], usages: Callable[[bytes], Used]
) -> Usage | None:
    """Usage of a whole JSON answer; None if it has none.

    A long answer is not decoded: its usage is looked for near its end, where every backend puts it.

    Args:
        whole: the framing has shown that the body is all there; else all of it is decoded, whatever its length.
        answers: decodes a body as far as its usage; `usages`: usage alone.

    Raises:
        ValueError: the body is not a JSON object.
    """
    try:
        if not whole:
            msgspec.json.decode(body)
        if len(body) > MAX_DECODED_BYTES:
            return _usage_of_object(body, usages)
        return answers(body)
    except msgspec.ValidationError:
        return _usage_of_object(body, usages)
    except _UNREADABLE as error:
        raise ValueError(f"not JSON: {error}") from None


def completion_usage(body: bytes, whole: bool = True) -> Usage | None:
    """Usage of a whole chat completion, completion or list of embeddings. Raises ValueError as `whole_usage` does."""
    return whole_usage(body, whole, _used, _usages.decode)


def _used(body: bytes) -> Usage | None:
    return _answers.decode(body).used()


def usage_near_end(body: bytes, usages: Callable[[bytes], Used]) -> Usage | None:
    """The last `usage` of a long JSON text, of which the beginning may be missing."""
    # Inside a JSON string the quotes would be escaped, so the key is a key.
    start = body.rfind(b'"usage"', max(0, len(body) - MAX_DECODED_BYTES))
    opening = body.find(b"{", start)
    if start < 0 or opening < 0:
        return None
    depth = 0
    for match in re.finditer(rb"[{}]", body[opening:]):
        depth += 1 if match[0] == b"{" else -1
        if depth == 0:
            try:
                return usages(body[opening : opening + match.end()]).usage()
            except _UNREADABLE:
                return None
    return None


def _usage_of_object(body: bytes, usages: Callable[[bytes], Used]) -> Usage | None:
    stripped = body.strip()
    if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
        raise ValueError("not a JSON object")
    return usage_near_end(body, usages)
