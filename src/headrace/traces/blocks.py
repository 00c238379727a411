"""Blocks of prompts, put together: a prefix in fewer ids, for what looks all of them up with every turn.

Block ids stand for their block and all before it, so the last id of every `n` says what all `n` say. What is lost is a
hit that ends within a larger block: half of one in the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from headrace.errors import TraceError
from headrace.workload import Prefix, Request


def coarser(requests: Iterable[Request], block_tokens: int, where: str) -> Iterator[Request]:
    """The same requests, with prefixes in blocks of `block_tokens`; a last block that is not full is left out.

    Raises:
        TraceError: the trace's own blocks do not fill such a block evenly.
    """
    for request in requests:
        prefix = request.prefix
        if prefix is None or prefix.block_tokens == block_tokens:
            yield request
            continue
        count, rest = divmod(block_tokens, prefix.block_tokens)
        if rest or not count:
            said = f"has blocks of {prefix.block_tokens} tokens; block_tokens = {block_tokens} is no multiple of that"
            raise TraceError(where, 0, said)
        blocks = prefix.blocks[count - 1 :: count]
        yield replace(request, prefix=Prefix(block_tokens, blocks) if blocks else None)
