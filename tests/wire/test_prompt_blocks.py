"""Prompts that begin alike share the ids of their first blocks, and only those."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.prompt_blocks import BLOCK_BYTES, prompt_blocks


def body(text: str, field: str = "messages", **before: object) -> bytes:
    prompt = [{"role": "user", "content": text}]
    return json.dumps({**before, field: prompt, "temperature": 0.5}).encode()


def shared(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


@given(st.integers(0, 40_000), st.integers(1, 20_000), st.integers(1, 20_000))
def test_what_begins_alike_shares_its_beginning_and_nothing_else(common: int, one: int, other: int) -> None:
    a, b = body("x" * common + "a" * one), body("x" * common + "b" * other)
    alike = len(json.dumps({"messages": [{"role": "user", "content": ""}]})) - len('{"}]}') + common
    ids = prompt_blocks(a), prompt_blocks(b)
    assert abs(shared(*ids) - alike // BLOCK_BYTES) <= 1
    assert len(set(ids[0])) == len(ids[0])


@pytest.mark.parametrize("field", ["messages", "input", "prompt"])
def test_what_stands_before_the_prompt_does_not_matter(field: str) -> None:
    text = "y" * 30_000
    first, second = body(text, field, max_tokens=7), body(text, field, max_tokens=1234, seed=5)
    assert len(prompt_blocks(first)) >= 14
    assert prompt_blocks(first)[:14] == prompt_blocks(second)[:14]


def test_a_short_body_has_no_blocks() -> None:
    assert prompt_blocks(body("hello")) == ()
    assert prompt_blocks(b"") == ()
