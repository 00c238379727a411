"""What a probe sends: cells, each a small experiment whose requests belong together, and their worst case.

- `sizing`: two prompts of known bytes; from their usage, prompts get a size in tokens from then on.
- `single`: one request on an idle server: TTFT against input length, TPOT against context length.
- `batch`: as many requests as the concurrency, at once, with long answers: TPOT against concurrency.
- `inject`: a long answer under way, then a prompt: what prefill does to the streams of others.
- `queue`: more requests at once than the largest concurrency: those beyond the server's slots wait.
- `prefix`: a prompt, the same beginning again, then another beginning: what a prefix cache saves.

Cells come repeat by repeat, so that a budget cuts repeats before it cuts experiments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

SIZING_BYTES = (600, 2400)
SHORT_TOKENS = 48
SIZE_MARGIN = 1.1  # a sized prompt may have this many times its planned tokens, at most
SIZE_SLACK_TOKENS = 32


class Shot(NamedTuple):
    """One request of a cell.

    Attributes:
        input_tokens: planned; for sizing, one per byte: no tokenizer has more.
        prompt_bytes: exact size of the prompt instead; None: sized by tokens.
        after_tokens: sent when the first request of the cell has that many tokens; 0: at once.
        prefix: prompts with the same prefix of a cell begin with the same text; "": nobody else's.
    """

    input_tokens: int
    max_tokens: int
    prompt_bytes: int | None = None
    after_tokens: int = 0
    prefix: str = ""

    @property
    def worst_input_tokens(self) -> int:
        """Input tokens it may cost at most."""
        if self.prompt_bytes is not None:
            return self.prompt_bytes + SIZE_SLACK_TOKENS
        return int(self.input_tokens * SIZE_MARGIN) + SIZE_SLACK_TOKENS


@dataclass(frozen=True, slots=True)
class Cell:
    """Requests that belong together. `sequential`: one after the other; else all at once (see `Shot.after_tokens`)."""

    name: str
    kind: str
    shots: tuple[Shot, ...]
    sequential: bool = False

    @property
    def worst(self) -> Spend:
        """What it costs at most."""
        inputs = sum(shot.worst_input_tokens for shot in self.shots)
        return Spend(len(self.shots), inputs, sum(shot.max_tokens for shot in self.shots))


class Spend(NamedTuple):
    """Requests and tokens, planned or spent."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Spend) -> Spend:
        """The sum."""
        return Spend(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def cost_usd(self, input_usd_per_mtok: float, output_usd_per_mtok: float) -> float:
        """At prices per million tokens."""
        return (self.input_tokens * input_usd_per_mtok + self.output_tokens * output_usd_per_mtok) / 1e6


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """How far a probe goes.

    Attributes:
        max_input: longest prompt, tokens.
        max_concurrency: most requests at once, but for `queue`, which sends twice as many.
        repeats: of each measurement.
        output_tokens: ceiling of the long answers; `short_output_tokens`: of the others.
        queue: whether the queue is looked for.
    """

    max_input: int = 8192
    max_concurrency: int = 8
    repeats: int = 3
    output_tokens: int = 64
    short_output_tokens: int = 16
    queue: bool = True

    def cells(self) -> list[Cell]:
        """Every cell, in the order in which they are sent."""
        sizes = tuple(Shot(size, 4, prompt_bytes=size) for size in SIZING_BYTES)
        cells = [Cell("sizing", "sizing", sizes, sequential=True)]
        for repeat in range(self.repeats):
            cells += self._repeat(repeat)
        return cells

    def concurrencies(self) -> list[int]:
        """1, 2, 4 ... up to `max_concurrency`, which is among them."""
        powers = [1 << power for power in range(self.max_concurrency.bit_length())]
        return sorted({power for power in powers if power <= self.max_concurrency} | {self.max_concurrency})

    def lengths(self) -> list[int]:
        """Prompt lengths, each twice the one before, up to `max_input`."""
        lengths = [self.max_input]
        while lengths[-1] >= 2 * SHORT_TOKENS and len(lengths) < 9:
            lengths.append(lengths[-1] // 2)
        return lengths[::-1]

    def _repeat(self, repeat: int) -> Iterator[Cell]:
        short, long = self.short_output_tokens, self.output_tokens
        for length in self.lengths():
            yield Cell(f"single-{length}-{repeat}", "single", (Shot(length, short),))
        middle = self.lengths()[len(self.lengths()) // 2]
        for concurrency in self.concurrencies():
            for length in (SHORT_TOKENS, middle):
                name = f"batch-{concurrency}-{length}-{repeat}"
                yield Cell(name, "batch", (Shot(length, long),) * concurrency)
        if self.max_concurrency > 1:
            for length in self.lengths()[-2:]:
                shots = (Shot(SHORT_TOKENS, long), Shot(length, short, after_tokens=8))
                yield Cell(f"inject-{length}-{repeat}", "inject", shots)
        if self.queue:
            crowd = (Shot(SHORT_TOKENS, long),) * (2 * self.max_concurrency)
            yield Cell(f"queue-{2 * self.max_concurrency}-{repeat}", "queue", crowd)
        prefixed = tuple(Shot(middle, 4, prefix=prefix) for prefix in ("a", "a", "b"))
        yield Cell(f"prefix-{middle}-{repeat}", "prefix", prefixed, sequential=True)


class Budget(NamedTuple):
    """Most requests and tokens that a probe may send, over all its runs; None: no such limit."""

    requests: int | None = None
    tokens: int | None = None

    def allows(self, spend: Spend) -> bool:
        """Whether `spend` stays within."""
        return (self.requests is None or spend.requests <= self.requests) and (
            self.tokens is None or spend.tokens <= self.tokens
        )

    def at_most(self, requests: int, tokens: int) -> Budget:
        """This budget, or less."""
        return Budget(
            requests if self.requests is None else min(requests, self.requests),
            tokens if self.tokens is None else min(tokens, self.tokens),
        )


class Selection(NamedTuple):
    """What will be sent: `cells` and their worst case; `left_out`: what the budget has no room for."""

    cells: list[Cell]
    left_out: list[Cell]
    worst: Spend

    @property
    def retries(self) -> int:
        """Requests that may be sent again after a refusal; they cost tokens only within the worst case."""
        largest = max((len(cell.shots) for cell in self.cells), default=0)
        return max(2 * largest, self.worst.requests // 4)


def select(cells: Iterable[Cell], done: Collection[str], spent: Spend, budget: Budget) -> Selection:
    """The cells that are missing and fit in the budget, in order; a dear one is left out, a cheaper one may follow.

    Args:
        done: names of cells that were measured before.
        spent: what earlier runs may have cost.
    """
    chosen, left_out, worst = [], [], Spend()
    for cell in cells:
        if cell.name in done:
            continue
        total = worst.plus(cell.worst)
        if budget.allows(spent.plus(total)):
            chosen.append(cell)
            worst = total
        else:
            left_out.append(cell)
    return Selection(chosen, left_out, worst)
