"""Generated traffic has the figures of the traces it was fitted on. Seeds are fixed: a failure is a change of code."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice, pairwise
from random import Random
from statistics import mean, median, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.workload import (
    AGENT,
    CHAT,
    CODING,
    ClassTraffic,
    LogNormalMixture,
    Poisson,
    Request,
    Traffic,
    generate,
)

KINDS = {"coding": CODING, "chat": CHAT, "agent": AGENT}


def one(name: str, duration_s: float, seed: int = 1, scale: float = 1.0) -> list[Request]:
    return list(generate([ClassTraffic(name, KINDS[name], scale)], duration_s, seed))


def quantile(values: list[int], q: float) -> int:
    return sorted(values)[int(q * (len(values) - 1))]


@cache
def arrivals_s(name: str) -> list[list[float]]:
    return [[request.arrival_s for request in one(name, 1140, seed)] for seed in range(12)]


def dispersion(name: str, width_s: int) -> float:
    """Median over runs of 1,140 s of variance / mean of the counts in slots of `width_s`, as in the source."""

    def of_run(times_s: list[float]) -> float:
        counts = Counter(int(at_s // width_s) for at_s in times_s)
        slots = [counts[index] for index in range(1140 // width_s)]
        return pvariance(slots) / mean(slots)

    return median(of_run(times_s) for times_s in arrivals_s(name))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.2, 3.0), st.floats(0, 60))
def test_merged_traffic_is_ordered_inside_the_duration_and_deterministic(
    seed: int, scale: float, duration_s: float
) -> None:
    classes = [ClassTraffic(name, traffic, scale) for name, traffic in KINDS.items() if name != "agent"]
    requests = list(generate(classes, duration_s, seed))
    assert requests == list(generate(classes, duration_s, seed))
    assert all(first.arrival_s <= second.arrival_s for first, second in pairwise(requests))
    assert all(0 <= request.arrival_s < duration_s for request in requests)
    assert all(request.input_tokens >= 1 and request.output_tokens >= 1 for request in requests)


def test_adding_a_class_does_not_change_the_others() -> None:
    both = generate([ClassTraffic("chat", CHAT), ClassTraffic("coding", CODING)], 60, 7)
    assert [request for request in both if request.workload_class == "chat"] == one("chat", 60, 7)


def test_another_seed_gives_another_day() -> None:
    assert one("chat", 60, 1) != one("chat", 60, 2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_poisson_arrivals_have_their_rate_and_no_burstiness(scale: float) -> None:
    times = list(islice(Poisson(3.0).times_s(Random(1), scale), 20_000))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) / times[-1] == pytest.approx(3.0 * scale, rel=0.03)
    assert pvariance(gaps) ** 0.5 / mean(gaps) == pytest.approx(1.0, rel=0.05)


# Source table: code 9.0, 51 and 103 at 1, 10 and 60 s; conversation 1.1, 2.3 and 9.0.
@pytest.mark.parametrize(
    ("name", "width_s", "low", "high"),
    [("coding", 1, 7, 12), ("coding", 10, 40, 62), ("chat", 1, 1.0, 1.3), ("chat", 10, 1.8, 3.0), ("chat", 60, 6, 14)],
)
def test_burstiness_is_that_of_the_trace(name: str, width_s: int, low: float, high: float) -> None:
    assert low < dispersion(name, width_s) < high


@pytest.mark.parametrize(
    ("name", "field", "p50", "p90", "highest"),
    [
        ("coding", "input_tokens", 1469, 5188, 7437),
        ("coding", "output_tokens", 13, 55, 1899),
        ("chat", "input_tokens", 1020, 2734, 14_050),
        ("chat", "output_tokens", 129, 424, 1000),
        ("agent", "output_tokens", 216, 888, 18_195),
    ],
)
def test_lengths_are_those_of_the_trace(name: str, field: str, p50: int, p90: int, highest: int) -> None:
    lengths = [getattr(request, field) for request in one(name, 2500 if name != "agent" else 6000, seed=3)]
    assert quantile(lengths, 0.5) == pytest.approx(p50, rel=0.12)
    # The narrow third part of the conversation fit (10.5 % of it) lies right at p90: within the fit's distance of 0.09.
    assert quantile(lengths, 0.9) == pytest.approx(p90, rel=0.45 if (name, field) == ("chat", "input_tokens") else 0.15)
    assert max(lengths) <= highest


def test_scale_multiplies_the_rate_of_every_kind() -> None:
    for name in KINDS:
        ratio = len(one(name, 2000, 5, scale=3.0)) / len(one(name, 2000, 5))
        assert 2.0 < ratio < 4.5


def test_agent_contexts_grow_to_what_a_model_takes_and_no_further() -> None:
    requests = one("agent", 4000, 2)
    inputs = [request.input_tokens for request in requests]
    assert max(inputs) <= AGENT.max_context_tokens
    assert quantile(inputs, 0.5) > 30_000


def test_sessions_of_every_age_run_when_the_clock_starts() -> None:
    requests = one("agent", 4000, 2)
    early = sum(request.arrival_s < 2000 for request in requests)
    assert 0.3 < early / len(requests) < 0.7


def test_a_draw_beyond_a_wall_is_moved_to_it() -> None:
    wall = LogNormalMixture(((1.0, 10.0, 1.0),), high=100)
    assert {wall.draw_tokens(Random(seed)) for seed in range(20)} == {100}


def test_bad_classes_are_reported_together() -> None:
    traffic: Traffic = CHAT
    with pytest.raises(ConfigError) as caught:
        generate([ClassTraffic("a", traffic), ClassTraffic("a", traffic), ClassTraffic("b", traffic, 0.0)], 1, 1)
    assert {fault.path for fault in caught.value.faults} == {"a", "b"}
