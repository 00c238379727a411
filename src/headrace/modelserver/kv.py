"""KV cache accounting: fixed-size blocks, handed out and returned; allocated + free = total, always."""

from __future__ import annotations

from typing import Final

from headrace.errors import InvariantError

BLOCK_TOKENS: Final = 16  # the default block size of vLLM's KV cache manager


class KvBlocks:
    """Counts blocks; which block holds what does not matter to timing, so no table is kept.

    Args:
        capacity_tokens: context tokens that fit; a last partial block is not used. None: unlimited.
    """

    __slots__ = ("_allocated", "_total")

    def __init__(self, capacity_tokens: int | None) -> None:
        self._total = None if capacity_tokens is None else capacity_tokens // BLOCK_TOKENS
        self._allocated = 0

    @staticmethod
    def blocks_for(tokens: int) -> int:
        """Blocks that hold `tokens` context tokens."""
        return -(-tokens // BLOCK_TOKENS)

    @property
    def total(self) -> int | None:
        """Blocks there are; None: unlimited."""
        return self._total

    @property
    def allocated(self) -> int:
        """Blocks handed out."""
        return self._allocated

    @property
    def free(self) -> int | None:
        """Blocks left; None: unlimited."""
        return None if self._total is None else self._total - self._allocated

    def could_ever_hold(self, blocks: int) -> bool:
        """Whether `blocks` fit when nothing else is held."""
        return self._total is None or blocks <= self._total

    def fits(self, blocks: int) -> bool:
        """Whether `blocks` are free now."""
        return self._total is None or self._allocated + blocks <= self._total

    def allocate(self, blocks: int) -> None:
        """Hand out `blocks`. Raises InvariantError when they are not free: ask `fits` first."""
        if self._total is not None and self._allocated + blocks > self._total:
            raise InvariantError(f"KV: {blocks} blocks asked of {self.free} free")
        self._allocated += blocks

    def release(self, blocks: int) -> None:
        """Take `blocks` back. Raises InvariantError when more comes back than was handed out."""
        if blocks > self._allocated:
            raise InvariantError(f"KV: {blocks} blocks returned of {self._allocated} allocated")
        self._allocated -= blocks
