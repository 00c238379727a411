"""A replayed prompt begins as its trace says: a prefix cache finds what it would have found, and nothing else."""

from __future__ import annotations

import pytest

from headrace.bench.prompt import BYTES_PER_TOKEN, prompt_text
from headrace.emulate.prompt import prefix_hashes, token_count
from headrace.workload import Prefix, Request, in_common

KV_BLOCK = 16


def request(tokens: int, blocks: tuple[int, ...] = (), block_tokens: int = 512) -> Request:
    return Request(0.0, "chat", tokens, 5, prefix=Prefix(block_tokens, blocks) if blocks else None)


def found_tokens(first: Request, second: Request) -> int:
    """Tokens that the emulated tokenizer's prefix cache would find of the second after the first."""
    before, now = (prefix_hashes(prompt_text(one, number)) for number, one in enumerate((first, second)))
    return in_common(before, now) * KV_BLOCK


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 511, 512, 2000])
@pytest.mark.parametrize("blocks", [(), (1,), (2**70, 2, 3, 4)])
def test_a_prompt_has_its_length(tokens: int, blocks: tuple[int, ...]) -> None:
    text = prompt_text(request(tokens, blocks), 7)
    assert len(text) == BYTES_PER_TOKEN * tokens
    assert token_count(text) == tokens


@pytest.mark.parametrize("size", [16, 64, 512])
def test_blocks_that_are_the_same_are_found_and_the_rest_is_new(size: int) -> None:
    first, second = request(4 * size, (1, 2, 3), size), request(5 * size, (1, 2, 9), size)
    assert found_tokens(first, second) == 2 * size
    assert found_tokens(first, request(5 * size, (2, 1), size)) == 0
    assert found_tokens(first, first) == 3 * size


def test_prompts_without_blocks_have_nothing_in_common() -> None:
    assert found_tokens(request(4000), request(4000)) == 0
