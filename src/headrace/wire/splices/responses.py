"""Passing answers of Responses: the last event holds the whole response again, and so may be long."""

from __future__ import annotations

import re

import msgspec

from headrace.wire.apis.responses.read_answer import ResponsesUsage
from headrace.wire.splices.splice import Splice
from headrace.wire.usage import StreamEnd, Usage, usage_near_end, whole_usage

_BEGUN = re.compile(rb'"type" ?: ?"response\.(?:[a-z_.]+\.delta|output_item\.done|completed|incomplete)"')
_CONTENT = re.compile(rb'"type" ?: ?"response\.[a-z_.]+\.delta"')
_COMPLETE = re.compile(rb'"type" ?: ?"response\.(?:completed|incomplete)"')
_FAILED = re.compile(rb'"type" ?: ?"(?:response\.failed|response\.cancelled|error)"')
_EVENT_ENDS = (b"}\n\n", b"}\r\n\r\n", b"[DONE]\n\n", b"[DONE]\r\n\r\n")


class _Answer(msgspec.Struct):
    usage: ResponsesUsage | None = None


_answers = msgspec.json.Decoder(_Answer)
_usages = msgspec.json.Decoder(ResponsesUsage)


def _begun(payload: bytes) -> bool:
    return _BEGUN.search(payload) is not None


def _end(preamble: bytes, tail: bytes, finish_passed: bool) -> StreamEnd:
    complete = (finish_passed or _COMPLETE.search(tail) is not None) and tail.endswith(_EVENT_ENDS)
    usage = usage_near_end(tail, _usages.decode) if complete else None
    return StreamEnd(complete, complete, not complete and _FAILED.search(tail) is not None, usage)


def _used(body: bytes) -> Usage | None:
    usage = _answers.decode(body).usage
    return None if usage is None else usage.usage()


def _whole_usage(body: bytes, whole: bool) -> Usage | None:
    return whole_usage(body, whole, _used, _usages.decode)


RESPONSES = Splice(
    begun=_begun,
    end=_end,
    whole_usage=_whole_usage,
    content=_CONTENT,
    preamble_bytes=1024 * 1024,  # the first events hold instructions and tools again
    end_bytes=4 * 1024 * 1024,
    finished=_COMPLETE,
)
