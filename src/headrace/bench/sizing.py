"""Prompts for real models: text that nobody has sent before, of a stated number of tokens.

A cache must not know a prompt, so every prompt is random words. A tokenizer is not known from outside, so its size is
measured: usage says how many tokens a prompt of so many bytes had, and since random words are alike, tokens are a line
in bytes: `fixed_tokens` of the chat template, and one token per `bytes_per_token`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

WORDS: list[str] = """
the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people my
than first water been call who oil its now find long down day did get come made may part over new sound take only
little work know place year live me back give most very after thing our just name good sentence man think say great
where help through much before line right too mean old any same tell boy follow came want show also around form
three small set put end does another well large must big even such because turn here why ask went men read need land
different home us move try kind hand picture again change off play spell air away animal house point page letter
mother answer found study still learn should world high every near add food between own below country plant
""".split()  # noqa: SIM905
INSTRUCTION = " Write a very long story with these words, and never stop: "


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many tokens text has: fixed_tokens + bytes / bytes_per_token."""

    fixed_tokens: float
    bytes_per_token: float

    def prompt_bytes(self, input_tokens: int) -> int:
        """Bytes of the prompt that has `input_tokens`, at least 1."""
        return max(1, round((input_tokens - self.fixed_tokens) * self.bytes_per_token))


def fit_sizing(points: Iterable[tuple[int, int]]) -> Sizing | None:
    """The line through (prompt bytes, input tokens), by least squares; None if all prompts were of one size."""
    pairs = list(points)
    n = len(pairs)
    if not n:
        return None
    mean_bytes = sum(size for size, _ in pairs) / n
    mean_tokens = sum(tokens for _, tokens in pairs) / n
    spread = sum((size - mean_bytes) ** 2 for size, _ in pairs)
    together = sum((size - mean_bytes) * (tokens - mean_tokens) for size, tokens in pairs)
    if spread <= 0.0 or together <= 0.0:
        return None
    per_byte = together / spread
    return Sizing(mean_tokens - mean_bytes * per_byte, 1.0 / per_byte)


def unique_text(random: Random, size_bytes: int) -> str:
    """Random words, exactly `size_bytes` long."""
    words: list[str] = []
    length = 0
    while length < size_bytes:
        words.append(random.choice(WORDS))
        length += len(words[-1]) + 1
    return " ".join(words)[:size_bytes]


def unique_prompt(random: Random, size_bytes: int, beginning: str = "") -> str:
    """A prompt of `size_bytes` that asks for a long answer, where there is room to ask.

    Args:
        beginning: text to begin with, for prompts that share a prefix.
    """
    text = beginning + unique_text(random, max(0, size_bytes - len(beginning)))
    room = size_bytes - len(INSTRUCTION)
    return text[:room] + INSTRUCTION if room >= len(INSTRUCTION) and len(beginning) <= room else text[:size_bytes]
