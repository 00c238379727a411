"""Passing answers of chat, of legacy completions, and lists of embeddings: OpenAI's older shape."""

from __future__ import annotations

import re

from headrace.wire.splices.splice import Splice
from headrace.wire.usage import CONTENT, StreamEnd, completion_usage, has_token, stream_end


def _end(preamble: bytes, tail: bytes, finish_passed: bool) -> StreamEnd:
    return stream_end(tail)


CHAT = Splice(begun=has_token, end=_end, whole_usage=completion_usage, content=CONTENT)
COMPLETIONS = Splice(begun=has_token, end=_end, whole_usage=completion_usage, content=re.compile(rb'"text" ?: ?"[^"]'))
EMBEDDINGS = CHAT  # never a stream
