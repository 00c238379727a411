"""Lengths and prefix blocks of traces that hold text instead of counts.

Without the model's tokenizer a length is an estimate: bytes / 4, the ratio the gateway starts from as well
(`policy.input_estimator`). A note says so. Blocks are hashes of all text up to their end, so equal ids mean equal text.
"""

from __future__ import annotations

from hashlib import blake2b

from headrace.policy.input_estimator import PRIOR_BYTES_PER_TOKEN
from headrace.workload import Prefix

BLOCK_TOKENS = 64
_BLOCK_BYTES = int(BLOCK_TOKENS * PRIOR_BYTES_PER_TOKEN)
_ID_BYTES = 8


def estimated_tokens(text: str, at_least: int = 0) -> int:
    """About how many tokens a text has."""
    return max(round(len(text.encode()) / PRIOR_BYTES_PER_TOKEN), at_least)


def prefix_of(text: str) -> Prefix:
    """The full blocks of a text."""
    data, digest = text.encode(), blake2b(digest_size=_ID_BYTES)
    blocks = []
    for end in range(_BLOCK_BYTES, len(data) + 1, _BLOCK_BYTES):
        digest.update(data[end - _BLOCK_BYTES : end])
        blocks.append(int.from_bytes(digest.copy().digest(), "big"))
    return Prefix(BLOCK_TOKENS, tuple(blocks))
