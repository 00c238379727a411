"""Answers of a completions backend, and for a completions client: chat's answers with `text` instead of a message.

Log probabilities differ most: four lists side by side instead of a list of tokens.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import BackendError
from headrace.wire.apis.chat.read_answer import ChatChoice, ChatStreamReader
from headrace.wire.apis.errors import error_body
from headrace.wire.apis.tool_names import ToolNames
from headrace.wire.body import NOT_JSON
from headrace.wire.canonical import (
    Answer,
    Choice,
    Ended,
    Event,
    Failed,
    Finished,
    Request,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
    Usage,
    fold,
)
from headrace.wire.chat import DONE, chat_usage

_encode = msgspec.json.Encoder().encode


class CompletionsStreamReader(ChatStreamReader):
    """Reads the stream of a completions backend."""

    def _read_delta(self, choice: ChatChoice, index: int, events: list[Event]) -> None:
        if choice.text:
            events.append(TextDelta(choice.text, index, _tokens(choice)))


def _tokens(choice: ChatChoice) -> tuple[TokenLogprob, ...]:
    logprobs = choice.logprobs
    if logprobs is None or not logprobs.tokens:
        return ()
    values = logprobs.token_logprobs or []
    tops = logprobs.top_logprobs or []
    found = []
    for at, token in enumerate(logprobs.tokens):
        value = values[at] if at < len(values) else None
        top = (tops[at] if at < len(tops) else None) or {}
        others = tuple(TopLogprob(name, logprob) for name, logprob in top.items())
        found.append(TokenLogprob(token, 0.0 if value is None else value, None, others))
    return tuple(found)


def read_answer(body: bytes, tools: ToolNames) -> Answer:
    """A whole completion.

    Raises:
        BackendError: it is none, carries an error, or has no finish reason.
    """
    try:
        return fold(CompletionsStreamReader(tools).read_whole(body))
    except (*NOT_JSON, ValueError) as error:
        raise BackendError(f"the backend's answer is not a completion: {error}") from None


class CompletionsStreamWriter:
    """Writes the stream of a completions client; what is not text has no place in it."""

    def __init__(self, request: Request, answer_id: str, created_s: int) -> None:
        self._id = "cmpl-" + answer_id
        self._model = request.model
        self._created_s = created_s
        self._include_usage = request.include_usage
        self._usage: Usage | None = None
        self._offsets: dict[int, int] = {}
        self._head = b""
        self._start(Started())

    def go_on(self, head: bytes) -> None:
        """Go on in the middle of an answer whose chunks begin with `head`."""
        self._head = head

    def write(self, event: Event) -> bytes:
        """The bytes that say this event; empty where there is nothing to say."""
        match event:
            case TextDelta():
                return self._text(event)
            case Finished(reason, choice):
                return self._chunk(choice, b'""', b"null", _encode(finish_reason(reason)))
            case Started():
                self._start(event)
            case Usage():
                self._usage = event
            case Ended():
                return self._end()
            case Failed():
                return b"data: %b\n\n" % error_body(event)
        return b""

    def write_all(self, events: list[Event]) -> bytes:
        """The bytes of several events."""
        return b"".join([self.write(event) for event in events])

    def _start(self, event: Started) -> None:
        self._head = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,' % (
            _encode(self._id),
            event.created_s or self._created_s,
            _encode(event.model or self._model),
        )

    def _text(self, event: TextDelta) -> bytes:
        logprobs = b"null"
        if event.logprobs:
            offset = self._offsets.get(event.choice, 0)
            logprobs = _encode(side_by_side(event.logprobs, offset))
            self._offsets[event.choice] = offset + len(event.text)
        return self._chunk(event.choice, _encode(event.text), logprobs, b"null")

    def _chunk(self, choice: int, text: bytes, logprobs: bytes, finish: bytes) -> bytes:
        template = b'%b"choices":[{"index":%d,"text":%b,"logprobs":%b,"finish_reason":%b}]}\n\n'
        return template % (self._head, choice, text, logprobs, finish)

    def _end(self) -> bytes:
        if not self._include_usage or self._usage is None:
            return DONE
        return b'%b"choices":[],"usage":%b}\n\n%b' % (self._head, chat_usage(self._usage), DONE)


def finish_reason(reason: str) -> str:
    """`finish_reason` as completions have it: there are no tools."""
    return "stop" if reason == "tool_calls" else reason


def side_by_side(logprobs: tuple[TokenLogprob, ...], offset: int) -> dict[str, Any]:
    """Log probabilities as completions have them.

    Args:
        offset: characters of the text before the first token.
    """
    offsets = []
    for token in logprobs:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in logprobs],
        "token_logprobs": [token.logprob for token in logprobs],
        "top_logprobs": [{top.token: top.logprob for top in token.top_logprobs} for token in logprobs],
        "text_offset": offsets,
    }


def write_answer(answer: Answer, request: Request, answer_id: str) -> bytes:
    """A whole completion."""
    return b'{"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[%b]%b}' % (
        _encode("cmpl-" + answer_id),
        answer.created_s,
        _encode(answer.model or request.model),
        b",".join(_choice(choice, index) for index, choice in enumerate(answer.choices)),
        b"" if answer.usage is None else b',"usage":' + chat_usage(answer.usage),
    )


def _choice(choice: Choice, index: int) -> bytes:
    logprobs = side_by_side(choice.logprobs, 0) if choice.logprobs else None
    return b'{"index":%d,"text":%b,"logprobs":%b,"finish_reason":%b}' % (
        index,
        _encode(choice.text),
        _encode(logprobs),
        _encode(finish_reason(choice.finish)),
    )
