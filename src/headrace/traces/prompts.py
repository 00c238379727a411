"""Sets of prompts with reference answers: HumanEval and MBPP, one JSON object a line. No clock.

Input is the prompt, output as long as the reference answer; both estimated from text. Questions without an answer
(MT-bench) have no output length, and one made up would be the result: they are refused with that reason.
Sources: openai/human-eval (MIT), google-research MBPP (CC-BY-4.0), lm-sys MT-bench (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headrace.traces._lines import good_rows
from headrace.traces.source import Head
from headrace.traces.text import estimated_tokens, prefix_of
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request

SHOWS = '{"prompt": ..., "canonical_solution": ...} or {"text": ..., "code": ...} a line'


class _Line(msgspec.Struct):
    prompt: str = ""
    canonical_solution: str = ""
    text: str = ""
    code: str = ""
    turns: list[str] = []


class PromptsTrace(TraceFile):
    """One file of prompts."""

    format = "prompts"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """One request a prompt, in the order of the file."""
        starts_s = self.starts_s("requests")
        self.settings.note(f"{self.source.name} holds text: tokens are estimated as bytes / 4")
        for member in self.source.members():
            for prompt, answer in good_rows(member, _parse, self.settings.bad_lines):
                lengths = estimated_tokens(prompt, 1), estimated_tokens(answer, 1)
                yield Request(next(starts_s), self.workload_class, *lengths, prefix=prefix_of(prompt))


def recognises(head: Head) -> bool:
    """Prompts of one of the sets."""
    return head.start.startswith(b"{") and any(
        all(key in head.start for key in keys)
        for keys in ((b'"prompt"', b'"canonical_solution"'), (b'"text"', b'"code"'), (b'"question_id"', b'"turns"'))
    )


_decode = msgspec.json.Decoder(_Line).decode


def _parse(line: bytes) -> tuple[str, str]:
    found = _decode(line)
    prompt, answer = found.prompt or found.text, found.canonical_solution or found.code
    if found.turns:
        raise ValueError("this question has no answer, so its output length is unknown; use a set with answers")
    if not prompt or not answer:
        raise ValueError("expected a prompt and its reference answer")
    return prompt, answer
