"""Where a prompt's beginning is probably cached: the prefix hit that each backend would give it, before it is sent.

Model servers keep the KV cache of prompts that they have seen, and compute of the next prompt only what comes after the
longest beginning that they hold. Nobody outside sees those caches, but everything in them went through here. So the
index remembers what was sent where, in two ways:

- *blocks*: a request carries ids of its prompt's blocks, each standing for the block and all before it (two prompts
  share their first k ids exactly if they share their first k blocks). Per backend the ids that were sent there last are
  kept, least recently used out first and a prompt's end before its beginning, as a model server evicts. Of a prompt, a
  backend's hit is the run of leading ids that it holds.
- *sessions*: where a request says only which session it belongs to, the whole context of that session's last answer is
  taken to be where that answer came from.

Memory is bounded: a backend never has more blocks here than its KV cache holds, all together never more than
`prefix_index_entries`, and of sessions as many are kept. Looking up costs one step per block of the prompt, however
many backends there are: each id has a bit mask of its holders.

It is a guess: a server may cache nothing, or have evicted more. Each backend's `hit_factor` learns from the counts of
cached tokens that it reports how much of what is predicted comes true.

Source: block ids as in Mooncake's traces (Qin et al., "Mooncake", 2024) and vLLM's automatic prefix caching, which hash
a block together with what comes before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headrace.policy.event import Arrived


class Prompt(NamedTuple):
    """What a request says of its prompt's beginning; `session` is (tenant, session)."""

    blocks: tuple[int, ...]
    block_tokens: int
    session: tuple[str, str] | None
    input_tokens: int


def prompt_of(event: Arrived) -> Prompt:
    """What an arrival says of its prompt."""
    session = None if event.session is None else (event.tenant, event.session)
    return Prompt(event.prefix, event.prefix_block_tokens, session, event.input_tokens)


class PrefixIndex:
    """Predicts prefix hits from what was dispatched."""

    def __init__(self, kv_capacity_tokens: Sequence[float], entries: int) -> None:
        """
        Args:
            kv_capacity_tokens: most context tokens that each backend can hold, by index; infinite where unknown.
            entries: bound of blocks, over all backends, and of sessions; 0 keeps nothing.
        """
        self._capacity_tokens = tuple(kv_capacity_tokens)
        self._entries = entries
        self._share = entries // max(len(self._capacity_tokens), 1)
        self._held: tuple[OrderedDict[int, None], ...] = tuple(OrderedDict() for _ in self._capacity_tokens)
        self._holders: dict[int, int] = {}
        self._sessions: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def inherit(self, before: PrefixIndex, moved: Mapping[int, int]) -> None:
        """Take over what another index knows.

        Args:
            moved: new index of each backend that is still there, by its old one.
        """
        for old, new in moved.items():
            room = int(self._share)
            for block in list(before._held[old])[-room:] if room else ():
                self._held[new][block] = None
                self._holders[block] = self._holders.get(block, 0) | 1 << new
        for session, (old, tokens) in before._sessions.items():
            if old in moved and self._entries:
                self._sessions[session] = (moved[old], tokens)

    @property
    def blocks(self) -> int:
        """Blocks kept, over all backends."""
        return sum(map(len, self._held))

    def hits(self, prompt: Prompt) -> dict[int, int]:
        """Input tokens of `prompt` that each backend probably has cached, by index; those with none are left out.

        At least one token of a prompt is always computed, so no hit is the whole of it.
        """
        tokens = {index: depth * prompt.block_tokens for index, depth in self._depths(prompt.blocks).items()}
        last = None if prompt.session is None else self._sessions.get(prompt.session)
        if last is not None:
            tokens[last[0]] = max(last[1], tokens.get(last[0], 0))
        most = prompt.input_tokens - 1
        return {index: min(found, most) for index, found in tokens.items()} if most > 0 else {}

    def sent(self, prompt: Prompt, index: int) -> None:
        """The prompt was dispatched to this backend: it will hold it."""
        if not prompt.blocks or prompt.block_tokens <= 0:
            return
        room = int(min(self._share, self._capacity_tokens[index] // prompt.block_tokens))
        held, holders, bit = self._held[index], self._holders, 1 << index
        for block in reversed(prompt.blocks[:room]):  # its beginning is the most recent
            if block in held:
                held.move_to_end(block)
            else:
                held[block] = None
                holders[block] = holders.get(block, 0) | bit
        while len(held) > room:
            self._forget(held.popitem(last=False)[0], bit)

    def answered(self, prompt: Prompt, index: int, context_tokens: int) -> None:
        """An answer is complete: the session's context is on this backend now, `context_tokens` with the answer."""
        if prompt.session is None or not self._entries:
            return
        self._sessions[prompt.session] = (index, context_tokens)
        self._sessions.move_to_end(prompt.session)
        if len(self._sessions) > self._entries:
            self._sessions.popitem(last=False)

    def _depths(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Leading blocks that each backend holds, by index."""
        holders = self._holders
        depths: dict[int, int] = {}
        alive = holders.get(blocks[0], 0) if blocks else 0
        for depth in range(1, len(blocks)):
            if not alive:
                return depths
            still = alive & holders.get(blocks[depth], 0)
            _note(depths, alive ^ still, depth)
            alive = still
        _note(depths, alive, len(blocks))
        return depths

    def _forget(self, block: int, bit: int) -> None:
        left = self._holders[block] & ~bit
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]


def _note(depths: dict[int, int], mask: int, depth: int) -> None:
    """Give every backend of a bit mask this depth."""
    while mask:
        lowest = mask & -mask
        depths[lowest.bit_length() - 1] = depth
        mask ^= lowest
