"""Loads compress time and nothing else; a bootstrap plays whole blocks of the trace, a seed's own each time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.config import load_fleet
from headrace.errors import ConfigError
from headrace.study.sweep.grid import TrafficSettings
from headrace.study.sweep.traffic import open_traffic, resampled
from headrace.workload import Request

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{i // 60:02}:{i % 60:02}.5,{100 + i},{i + 1}\n" for i in range(200)
)


def test_a_load_divides_times_and_leaves_lengths(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TRACE)
    fleet = load_fleet()
    for block_s in (None, 20.0):
        traffic = TrafficSettings((("chat", str(tmp_path / "t.csv")),), resample_block_s=block_s)
        once, twice = (list(open_traffic(traffic, fleet, load, 3)) for load in (1.0, 2.0))
        assert [r.arrival_s / 2 for r in once] == pytest.approx([r.arrival_s for r in twice])
        assert [(r.input_tokens, r.output_tokens) for r in once] == [(r.input_tokens, r.output_tokens) for r in twice]


def test_generated_traffic_takes_seed_and_load() -> None:
    fleet, traffic = load_fleet(), TrafficSettings(generate_s=200.0)
    counts = {load: len(list(open_traffic(traffic, fleet, load, 0))) for load in (1.0, 4.0)}
    assert 3.0 < counts[4.0] / counts[1.0] < 5.0
    assert list(open_traffic(traffic, fleet, 1.0, 0)) != list(open_traffic(traffic, fleet, 1.0, 1))


times = st.lists(st.floats(0.0, 500.0, allow_nan=False), min_size=1, max_size=60).map(sorted)


@given(times, st.floats(0.7, 90.0), st.integers(0, 5))
def test_a_bootstrap_is_whole_blocks_in_order(arrivals: list[float], block_s: float, seed: int) -> None:
    requests = [Request(at_s, "chat", index + 1, 1) for index, at_s in enumerate(arrivals)]
    whole = int(requests[-1].arrival_s // block_s)
    if whole < 2 or whole * block_s > requests[-1].arrival_s:
        return
    played = list(resampled(requests, block_s, seed))
    assert played == list(resampled(requests, block_s, seed))
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(played))
    blocks: dict[int, list[int]] = {}
    for request in requests:
        blocks.setdefault(int(request.arrival_s / block_s), []).append(request.input_tokens)
    place = 0
    while place < len(played):
        first = requests[played[place].input_tokens - 1]
        block = blocks[int(first.arrival_s / block_s)]
        assert [request.input_tokens for request in played[place : place + len(block)]] == block
        place += len(block)


def test_seeds_play_different_days() -> None:
    requests = [Request(float(i), "chat", i + 1, 1) for i in range(300)]
    days = {tuple(r.input_tokens for r in resampled(requests, 10.0, seed)) for seed in range(8)}
    assert len(days) == 8


def test_blocks_longer_than_the_trace_are_refused() -> None:
    requests = [Request(float(i), "chat", i + 1, 1) for i in range(30)]
    with pytest.raises(ConfigError, match=r"resample_block_s: 20 s leaves 1 whole blocks"):
        list(resampled(requests, 20.0, 0))
