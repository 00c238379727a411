"""A piece of every public trace, and what independent counts say of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

import pytest

from headrace.traces import TraceOptions, open_traces, recognise
from headrace.workload import Request, TurnGate

PIECE = 2000
TRACES = [
    ("azure", "azure-llm-2023/AzureLLMInferenceTrace_code.csv", False),
    ("mooncake", "mooncake/conversation_trace.jsonl.gz", False),
    ("mooncake", "mooncake/synthetic_trace.jsonl.gz", False),
    ("claude-code", "claude-code-weka/v8.tar.xz", True),
    ("claude-code", "claude-code-weka/v6.tar.xz", True),
    ("claude-code", "claude-code-weka/sample", True),
    ("lmcache", "lmcache-agents/magagent.tar.xz", True),
    ("lmcache", "lmcache-agents/miniswe.tar.xz", True),
    ("lmcache", "lmcache-agents/taubench.tar.xz", True),
    ("tracelab", "tracelab/round_trace.sample.jsonl", True),
    ("rounds", "tracelab/multi_session_large.csv", True),
    ("rounds", "tracelab/multi_session_example.csv", True),
    ("rounds", "tracelab/session_workload_example.csv", True),
    ("lengths", "lengths/nanoflow_lmsys.csv.gz", False),
    ("lengths", "lengths/nanoflow_sharegpt.csv.gz", False),
    ("lengths", "lengths/vidur_arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv.gz", False),
    ("prompts", "prompts/HumanEval.jsonl.gz", False),
    ("prompts", "prompts/mbpp.jsonl", False),
    ("servegen", "servegen/servegen.tar.xz#multimodal/mm-image", False),
]


def opened(data_dir: Path, name: str, **options: object) -> Iterable[Request]:
    return open_traces({"c": str(data_dir / "traces" / name)}, TraceOptions(rate_per_s=0.05, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("format", "name", "has_sessions"), TRACES, ids=[name for _, name, _ in TRACES])
def test_a_piece_of_each_trace_is_sound(data_dir: Path, format: str, name: str, has_sessions: bool) -> None:
    assert recognise(str(data_dir / "traces" / name)) == format
    piece = list(islice(opened(data_dir, name), PIECE))
    assert piece
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(piece))
    assert all(request.input_tokens >= 1 and request.output_tokens >= 0 for request in piece)
    assert all((request.turn is not None) == has_sessions for request in piece)
    gate = TurnGate()
    for request in piece:
        if request.turn is not None:
            gate.offer(request)
        if request.prefix is not None:
            assert (len(request.prefix.blocks) - 1) * request.prefix.block_tokens < request.input_tokens


def hit_rate(requests: Iterable[Request]) -> float:
    """Tokens that an endless cache would have found, over all; every block before a hit must hit."""
    seen: set[int] = set()
    found = whole = 0
    for request in requests:
        blocks = request.prefix.blocks if request.prefix else ()
        hits = next((index for index, block in enumerate(blocks) if block not in seen), len(blocks))
        seen.update(blocks)
        whole += request.input_tokens
        found += min(hits * (request.prefix.block_tokens if request.prefix else 0), request.input_tokens)
    return found / whole


def test_shared_prefixes_are_those_of_the_files(data_dir: Path) -> None:
    assert hit_rate(opened(data_dir, "mooncake/synthetic_trace.jsonl.gz")) == pytest.approx(0.438, abs=0.001)
    assert hit_rate(opened(data_dir, "lmcache-agents/miniswe.tar.xz")) == pytest.approx(0.935, abs=0.01)


def test_a_coding_session_is_read_to_the_last_block(data_dir: Path) -> None:
    for path in sorted((data_dir / "traces" / "claude-code-weka" / "sample").glob("*.json")):
        rows = [row for row in json.loads(path.read_text())["requests"] if row["type"] != "subagent"]
        mine = [
            one for one in opened(data_dir, f"claude-code-weka/sample/{path.name}") if one.turn and not one.turn.parent
        ]
        assert [(one.input_tokens, one.output_tokens) for one in mine] == [(row["in"], row["out"]) for row in rows]
        for one, row in zip(mine, rows, strict=True):
            assert one.prefix is not None
            assert [block & 0xFFFFFFFF for block in one.prefix.blocks] == row["hash_ids"]
