"""Prefix cache: input that jobs have in common is kept once and computed once.

A job carries one hash per block of its input; equal hashes mean equal input from the start up to there. So what a new
job finds is the *leading run* of its hashes that are present, at most all but its last input token: that one is always
computed, for it yields the first output token. A block is entered when the job that computes it is admitted: in
continuous batching a later job is admitted only in a step that completes every prefill before it, so it never meets a
block that will not be there in time (vLLM, which hashes blocks when it schedules them, sees the same).

The rule it protects: a block that a job holds stays; one that nobody holds stays *until its room is needed*. Idle
blocks count as free, and go in order of last use; of one job's, the last block first, so that what is left is a prefix
(vLLM frees in that order too). A block without a hash, such as output, is reused before any idle one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headrace.errors import ModelRangeError
from headrace.modelserver.kv import BLOCK_TOKENS, KvBlocks
from headrace.modelserver.server import Job


class PrefixCache:
    """Shares hashed blocks over a pool of KV blocks, which it allocates from and releases to.

    All jobs of a server have hashes of one block size, that of the first.
    """

    def __init__(self, kv: KvBlocks) -> None:
        self._kv = kv
        self._held: dict[int, int] = {}  # hash -> jobs that hold it
        self._idle: OrderedDict[int, None] = OrderedDict()  # nobody holds it; least recently used first
        self._tokens = 0  # of one hashed block; 0 before the first
        self._blocks = 0  # KV blocks of one hashed block

    @property
    def idle_blocks(self) -> int:
        """KV blocks with content that nobody holds: a part of what is free."""
        return len(self._idle) * self._blocks

    @property
    def held_blocks(self) -> int:
        """KV blocks with a hash that jobs hold, each counted once."""
        return len(self._held) * self._blocks

    def whole_blocks(self, job: Job) -> Sequence[int]:
        """The hashes of the job's whole blocks.

        Raises:
            ModelRangeError: the size of its blocks is no multiple of the KV block, or not that of earlier jobs.
        """
        tokens = job.prefix_block_tokens
        if not job.prefix:
            return ()
        if tokens < BLOCK_TOKENS or tokens % BLOCK_TOKENS or tokens != (self._tokens or tokens):
            raise ModelRangeError(
                f"job {job.job_id}: hashes of blocks of {tokens} tokens; this prefix cache needs "
                f"{self._tokens or f'a multiple of {BLOCK_TOKENS}'}: hash the trace's blocks in one such size"
            )
        self._tokens, self._blocks = tokens, tokens // BLOCK_TOKENS
        return job.prefix[: job.input_tokens // tokens]

    def found(self, hashes: Sequence[int], tokens: int) -> int:
        """How many leading blocks of a prefill of `tokens` are here."""
        count = 0
        for block in hashes[: (tokens - 1) // self._tokens if hashes else 0]:
            if block not in self._held and block not in self._idle:
                break
            count += 1
        return count

    def room(self, hashes: Sequence[int], found: int) -> int:
        """KV blocks that a job saves, of what is free, by the first `found` blocks: those that others hold."""
        return self._blocks * sum(block in self._held for block in hashes[:found])

    def hold(self, hashes: Sequence[int], found: int) -> list[int]:
        """Take the first `found` blocks and enter the others, which are new; returns the positions that the job holds.

        A later block that is here already, behind one that is not, stays the other's: the job computes its own.
        """
        for block in hashes[:found]:
            if block in self._held:
                self._held[block] += 1
            else:
                del self._idle[block]
                self._held[block] = 1
                self._kv.allocate(self._blocks)
        mine = list(range(found))
        for position in range(found, len(hashes)):
            block = hashes[position]
            if block not in self._held and block not in self._idle:
                self._held[block] = 1
                mine.append(position)
                self.allocate(self._blocks)
        return mine

    def allocate(self, blocks: int) -> None:
        """Take KV blocks from the pool, at the cost of idle ones if it must be."""
        self._kv.allocate(blocks)
        free = self._kv.free
        while free is not None and self._idle and self.idle_blocks > free:
            self._idle.popitem(last=False)

    def release(self, hashes: Sequence[int], mine: Sequence[int], filled: int) -> None:
        """Give back the blocks at positions `mine`; only the first `filled` positions were ever computed."""
        for position in reversed(mine):
            block = hashes[position]
            self._held[block] -= 1
            if self._held[block] == 0:
                del self._held[block]
                self._kv.release(self._blocks)
                if position < filled:
                    self._idle[block] = None

    def filled(self, tokens: int) -> int:
        """Hashed blocks that so many computed input tokens fill."""
        return tokens // self._tokens if self._tokens else 0

    def tokens_of(self, blocks: int) -> int:
        """Input tokens in so many hashed blocks."""
        return blocks * self._tokens

    def kv_blocks_of(self, blocks: int) -> int:
        """KV blocks in so many hashed blocks."""
        return blocks * self._blocks
