"""The Mooncake traces: one JSON object a line; lengths, and the ids of the 512-token blocks that the input begins with.

`timestamp` is in milliseconds. In the conversation trace it sits on a grid of 3 s: as written, ten users at once would
press the key every three seconds. Requests that share a stamp are therefore spread evenly over one step of the grid,
the smallest distance of two stamps seen so far; where every request has a stamp of its own nothing moves. The last
block of an input is partial: `len(hash_ids) == ceil(input_length / 512)`. Ids reach back, so a later piece starts
with a cold cache that the trace did not have.
Source: github.com/kvcache-ai/Mooncake (Apache-2.0; FAST'25).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import msgspec

from headrace.errors import InvariantError
from headrace.traces._lines import Clock, good_rows, tokens
from headrace.traces.source import Head, Member
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Prefix, Request

SHOWS = '{"timestamp": ms, "input_length": ..., "output_length": ..., "hash_ids": [...]} a line'
BLOCK_TOKENS = 512
MS_PER_S = 1000.0


class _Line(msgspec.Struct, gc=False):
    timestamp: int
    input_length: int
    output_length: int
    hash_ids: list[int] = []


class MooncakeTrace(TraceFile):
    """One file of a Mooncake trace."""

    format = "mooncake"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """The requests, those that share a stamp spread over one step of the grid."""
        for member in self.source.members():
            yield from self._spread(member)

    def _spread(self, member: Member) -> Iterator[Request]:
        together: list[_Line] = []
        step_ms = inf
        for line in good_rows(member, _parser(), self.settings.bad_lines):
            if together and line.timestamp > together[0].timestamp:
                step_ms = min(step_ms, line.timestamp - together[0].timestamp)
                yield from self._requests(together, step_ms)
                together = []
            together.append(line)
        yield from self._requests(together, step_ms)

    def _requests(self, together: list[_Line], step_ms: float) -> Iterator[Request]:
        apart_ms = step_ms / len(together) if together and step_ms < inf else 0.0
        if len(together) > 1:
            name = self.source.name
            self.settings.note(f"{name}: requests that share a time stamp are spread evenly until the next stamp")
        for index, line in enumerate(together):
            at_s = (line.timestamp + index * apart_ms) / MS_PER_S
            prefix = Prefix(BLOCK_TOKENS, tuple(line.hash_ids)) if line.hash_ids else None
            yield Request(at_s, self.workload_class, line.input_length, line.output_length, prefix=prefix)


def mooncake_line(request: Request) -> bytes:
    """A request as a line of such a trace; its class, its model and its tenant are not in it.

    Raises:
        InvariantError: its prefix is counted in other blocks.
    """
    if request.prefix is not None and request.prefix.block_tokens != BLOCK_TOKENS:
        raise InvariantError(f"mooncake: blocks of {request.prefix.block_tokens} tokens, not {BLOCK_TOKENS}")
    blocks = [] if request.prefix is None else list(request.prefix.blocks)
    line = _Line(round(request.arrival_s * MS_PER_S), request.input_tokens, request.output_tokens, blocks)
    return msgspec.json.encode(line) + b"\n"


def recognises(head: Head) -> bool:
    """Lengths and a stamp, and no chat."""
    return all(key in head.start for key in (b'"timestamp"', b'"input_length"', b'"output_length"')) and (
        b'"chat_id"' not in head.start
    )


class _parser:  # noqa: N801 - a function with a memory
    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Line).decode
        self._clock = Clock("timestamp")

    def __call__(self, text: bytes) -> _Line:
        line = self._decode(text)
        tokens("input_length", line.input_length)
        tokens("output_length", line.output_length, 0)
        blocks = -(-line.input_length // BLOCK_TOKENS)
        if line.hash_ids and len(line.hash_ids) > blocks:
            message = f"{len(line.hash_ids)} hash_ids for {line.input_length} input tokens"
            raise ValueError(f"{message}: expected at most {blocks} blocks of {BLOCK_TOKENS}")
        self._clock.tick(line.timestamp / MS_PER_S)
        return line
