"""KV blocks that sequences hold: reserved whole, or growing as they decode; private, or shared by prefix.

A sequence of K context tokens, the one that its next step writes included, holds ceil(K / 16) blocks before that step.
Under `grow` it is admitted with the blocks of what it has to prefill, and one more is added each time K passes a
multiple of 16. All sequences in decode move by one token a step, so K less the reading of the token clock is constant,
the sequence's *phase*, and who needs a block in which step follows from the phase modulo 16. Sixteen counts of phases
thus say how many blocks any run of steps takes, and how many steps the free blocks allow, without a look at a single
sequence.

Law: allocated + free = total; allocated is what sequences hold, each shared block counted once.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Hashes

from headrace.errors import ModelRangeError
from headrace.fleet import KvCache, KvPolicy, Preemption
from headrace.modelserver.kv import BLOCK_TOKENS, KvBlocks
from headrace.modelserver.prefix import PrefixCache
from headrace.modelserver.sequence import Sequence, Stage
from headrace.modelserver.server import Job


class PagedSequence(Sequence):
    """A sequence that may be preempted and may share a prefix.

    Attributes:
        prefill_tokens: what is to be prefilled: its input, and after a preemption by recompute its output so far.
        kept: output tokens that it had when it was last preempted.
        stints: for each time in decode that a preemption ended, its `first_mark` and the output tokens at its end.
        phase: context tokens less the reading of the token clock, while in decode.
        hashes: of the whole blocks of its input.
        mine: positions of the hashed blocks that it holds.
        resumes: its KV is elsewhere and complete: in host memory, or just received from a server that prefilled it.
        host_blocks: blocks in host memory while it is swapped out.
        admitted: it was, at least once.
    """

    __slots__ = ("admitted", "hashes", "host_blocks", "kept", "mine", "phase", "prefill_tokens", "resumes", "stints")

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(job, number)
        self.prefill_tokens = job.input_tokens
        self.kept = 0
        self.stints: list[tuple[int, int]] = []
        self.phase = 0
        self.hashes: Hashes[int] = ()
        self.mine: list[int] = []
        self.resumes = False
        self.host_blocks = 0
        self.admitted = False

    def turns(self) -> list[tuple[int, int, int]]:
        """Each time in decode: its mark, and the first and last number of the tokens that came with it."""
        found, first = [], 1
        for mark, last in self.stints:
            found.append((mark, first, last))
            first = last + 1
        if self.stage in (Stage.DECODE, Stage.DELIVERY):
            found.append((int(self.first_mark), first, self.output_tokens))
        return found

    def tokens_after(self, steps: int) -> int:
        """Output tokens when the token clock reads `steps`."""
        for mark, first, last in reversed(self.turns()):
            if steps - mark + 1 >= first:
                return min(steps - mark + 1, last)
        return 0

    def step_of(self, token: int) -> int | None:
        """The step with which token number `token` (1-based) comes; None: it is not known yet."""
        return next((mark + token - 1 for mark, first, last in self.turns() if first <= token <= last), None)


class KvPages:
    """Who holds how many blocks, in closed form.

    Attributes:
        kv: the blocks.
        host: blocks in host memory, for swapping.

    Raises:
        ModelRangeError: swapping without the bytes of a token, or without a speed.
    """

    def __init__(self, capacity_tokens: int | None, settings: KvCache, kv_bytes_per_token: float) -> None:
        swaps = settings.preemption is Preemption.SWAP
        if swaps and (kv_bytes_per_token <= 0.0 or settings.swap_bytes_per_s <= 0.0):
            raise ModelRangeError("paged: swapping needs the KV bytes of a token and a swap_bytes_per_s above 0")
        self.kv = KvBlocks(capacity_tokens)
        self.host = KvBlocks(int(settings.swap_bytes / kv_bytes_per_token) if swaps else 0)
        self._copy_s = BLOCK_TOKENS * kv_bytes_per_token / settings.swap_bytes_per_s if swaps else 0.0
        self.cache = PrefixCache(self.kv)
        self._sharing = settings.prefix_cache
        self._grows = settings.policy is KvPolicy.GROW
        self._watermark = int(settings.watermark * (self.kv.total or 0)) if self._grows else 0
        self._phases = [0] * BLOCK_TOKENS
        self._growing = 0
        self._reach = -1  # reading of the token clock up to which decoding sequences hold their blocks

    def enter(self, sequence: PagedSequence, job: Job) -> None:
        """Note the job's hashes. Raises ModelRangeError if their block size does not suit."""
        if self._sharing:
            sequence.hashes = self.cache.whole_blocks(job)

    # -- admission

    def fits(self, sequence: PagedSequence, alone: bool) -> bool:
        """Whether the sequence can be admitted, or swapped in, now; `alone`, without regard to the watermark."""
        blocks = self._needed(sequence)
        if sequence.hashes and not sequence.resumes:
            found = self.cache.found(sequence.hashes, sequence.prefill_tokens)
            blocks -= self.cache.room(sequence.hashes, found)
        return self.kv.fits(blocks + (0 if alone else self._watermark))

    def fitting(self, sequences: Iterable[PagedSequence]) -> int:
        """How many of these, from the first on, have room beside who is there, as if none shared a prefix."""
        blocks = count = 0
        for sequence in sequences:
            blocks += self._needed(sequence)
            if not self.kv.fits(blocks + self._watermark):
                break
            count += 1
        return count

    def admit(self, sequence: PagedSequence) -> None:
        """Hand out the blocks of a prefill; what the prefix cache has is done already."""
        private = sequence.blocks = self._to_admit(sequence)
        found = 0
        if sequence.hashes:
            found = self.cache.found(sequence.hashes, sequence.prefill_tokens)
            sequence.mine = self.cache.hold(sequence.hashes, found)
            private -= self.cache.kv_blocks_of(len(sequence.mine))
        self.cache.allocate(private)
        sequence.prefilled = self.cache.tokens_of(found)
        if not sequence.admitted:
            sequence.admitted, sequence.cached_tokens = True, sequence.prefilled

    def join(self, sequence: PagedSequence, context_tokens: int, step: int) -> None:
        """The sequence decodes from reading `step` on, with so many context tokens, the next one to write included."""
        sequence.phase = context_tokens - step
        if self._grows:
            self._phases[sequence.phase % BLOCK_TOKENS] += 1
            self._growing += 1

    # -- decode

    def growth(self, step: int) -> int:
        """Blocks to add so that every decoding sequence can do step number `step` + 1."""
        steps = step - self._reach
        if not self._growing or steps <= 0:
            return 0
        blocks = steps // BLOCK_TOKENS * self._growing
        for reading in range(step - steps % BLOCK_TOKENS + 1, step + 1):
            blocks += self._phases[(1 - reading) % BLOCK_TOKENS]
        return blocks

    def grow(self, step: int) -> None:
        """Add those blocks."""
        blocks = self.growth(step)
        if blocks:
            self.cache.allocate(blocks)
        self._reach = max(self._reach, step)

    def steps_possible(self) -> int | None:
        """Steps from here until blocks run out; None: they do not."""
        if not self._growing or self.kv.free is None:
            return None
        rounds, left = divmod(self.kv.free, self._growing)
        steps = 1 + rounds * BLOCK_TOKENS
        while (needed := self._phases[(1 - self._reach - steps) % BLOCK_TOKENS]) <= left:
            left -= needed
            steps += 1
        return steps

    def leave(self, sequence: PagedSequence, decoding: bool) -> int:
        """Take back all that the sequence holds; returns how many blocks those were."""
        blocks = self._held(sequence, decoding)
        if decoding and self._grows:
            self._phases[sequence.phase % BLOCK_TOKENS] -= 1
            self._growing -= 1
        self.kv.release(blocks - self.cache.kv_blocks_of(len(sequence.mine)))
        if sequence.mine:
            self.cache.release(sequence.hashes, sequence.mine, self.cache.filled(sequence.prefilled))
            sequence.mine = []
        return blocks

    # -- swap

    def swap_out(self, sequence: PagedSequence) -> float:
        """Move a decoding sequence's blocks to host memory, where they must fit; returns the seconds of the copy."""
        sequence.host_blocks = self.leave(sequence, decoding=True)
        self.host.allocate(sequence.host_blocks)
        sequence.resumes = True
        return sequence.host_blocks * self._copy_s

    def resume(self, sequence: PagedSequence, step: int) -> float:
        """Bring the KV of a sequence that resumes here; returns the seconds of the copy from host memory, if any."""
        copy_s = sequence.host_blocks * self._copy_s
        self.forget_host(sequence)
        sequence.resumes, sequence.admitted = False, True
        sequence.blocks = self._to_resume(sequence)
        self.cache.allocate(sequence.blocks)
        self.join(sequence, sequence.input_tokens + sequence.kept, step)
        return copy_s

    def forget_host(self, sequence: PagedSequence) -> None:
        """Free the sequence's host memory."""
        self.host.release(sequence.host_blocks)
        sequence.host_blocks = 0

    def can_swap_out(self, sequence: PagedSequence) -> bool:
        """Whether host memory has room for a decoding sequence."""
        return self.host.fits(self._held(sequence, decoding=True))

    def _needed(self, sequence: PagedSequence) -> int:
        return self._to_resume(sequence) if sequence.resumes else self._to_admit(sequence)

    def _to_resume(self, sequence: PagedSequence) -> int:
        """Blocks of all its context, the token that its next step writes included."""
        return KvBlocks.blocks_for(sequence.input_tokens + (sequence.kept if self._grows else sequence.output_tokens))

    def _to_admit(self, sequence: PagedSequence) -> int:
        if self._grows:
            return KvBlocks.blocks_for(sequence.prefill_tokens)
        return KvBlocks.blocks_for(sequence.input_tokens + sequence.output_tokens)

    def _held(self, sequence: PagedSequence, decoding: bool) -> int:
        if decoding and self._grows:
            return KvBlocks.blocks_for(sequence.phase + self._reach)
        return sequence.blocks
