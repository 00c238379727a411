"""Passing answers of Messages: the input's tokens stand in the first event, the output's near the last."""

from __future__ import annotations

import re

import msgspec

from headrace.wire.apis.messages.read_answer import MessagesStreamReader, MessagesUsage
from headrace.wire.apis.tool_names import PLAIN
from headrace.wire.canonical import Ended, Failed
from headrace.wire.splices.splice import Splice
from headrace.wire.usage import StreamEnd, Usage, whole_usage

_BEGUN = re.compile(rb'"type" ?: ?"(?:content_block_delta|message_delta|message_stop|tool_use)"')
_CONTENT = re.compile(rb'"(?:text|thinking|partial_json)" ?: ?"[^"]')


class _Answer(msgspec.Struct):
    usage: MessagesUsage | None = None


_answers = msgspec.json.Decoder(_Answer)
_usages = msgspec.json.Decoder(MessagesUsage)


def _begun(payload: bytes) -> bool:
    return _BEGUN.search(payload) is not None


def _end(preamble: bytes, tail: bytes, finish_passed: bool) -> StreamEnd:
    """Read the beginning and the end, as far as there are whole events."""
    reader = MessagesStreamReader(PLAIN)
    preamble = preamble.replace(b"\r\n", b"\n")
    events = reader.feed(preamble[: preamble.rfind(b"\n\n") + 2])
    events += reader.feed(_whole_events(tail) + b"\n\n")
    ended = any(isinstance(event, Ended) for event in events)
    failed = any(isinstance(event, Failed) for event in events)
    usage = next((event for event in events if isinstance(event, Usage)), None)
    return StreamEnd(ended, ended, failed, usage)


def _whole_events(tail: bytes) -> bytes:
    """The tail without what may be the rest of an event: each event begins with its name or its data."""
    tail = tail.replace(b"\r\n", b"\n")
    if tail.startswith((b"event:", b"data:")):
        return tail
    return tail.partition(b"\n\n")[2]


def _used(body: bytes) -> Usage | None:
    usage = _answers.decode(body).usage
    return None if usage is None else usage.usage()


def _whole_usage(body: bytes, whole: bool) -> Usage | None:
    return whole_usage(body, whole, _used, _usages.decode)


MESSAGES = Splice(
    begun=_begun, end=_end, whole_usage=_whole_usage, content=_CONTENT, keeps_preamble=True, end_bytes=4096
)
