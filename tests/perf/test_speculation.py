"""Speculative decoding: the formula, and laws that hold on every chip whose deployments declare their draft."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Speculation, catalog
from headrace.perf import (
    Claim,
    Load,
    Place,
    ServedEstimate,
    Split,
    check_conservation,
    closed_loop,
    decode_step_s,
    speed_curve,
    tokens_per_pass,
)

EXTERNAL = ("A100", "H100", "B200", "GB300", "MI300X", "TPU v6e")
chips = st.sampled_from((*EXTERNAL, "WSE-3"))
external = st.sampled_from(EXTERNAL)
models = st.sampled_from(("gpt-oss-120b", "llama-3.1-70b", "qwen3-32b"))
acceptances, costs = st.floats(0.0, 1.0), st.floats(0.0, 0.5)
drafted, users = st.integers(0, 8), st.integers(1, 64)
splits = st.sampled_from((None, Split(prefill_count=8), Split(decode_replicas=2, prefill_replicas=3, prefill_count=16)))


def deployment(chip: str, model: str, speculation: Speculation | bool = False) -> Deployment:
    return Deployment("d", catalog.model(model), catalog.accelerator(chip), 16, speculation=speculation)


def served(place: Place, load: Load) -> ServedEstimate:
    return closed_loop(place, [load])[0]


def e2e_s(answer: ServedEstimate, load: Load) -> float:
    return answer.ttft.value + answer.tpot.value * (load.output_tokens - 1)


@given(acceptances, drafted)
def test_tokens_per_pass_are_the_expected_run_of_accepted_tokens_and_one(acceptance: float, tokens: int) -> None:
    expected = sum(acceptance**i for i in range(tokens + 1))
    assert tokens_per_pass(acceptance, tokens) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(chips, models, acceptances, costs, users)
@example("A100", "gpt-oss-120b", 0.75, 0.0, 1)  # where the closed form rounds to less than one token
def test_drafting_nothing_is_no_speculation(
    chip: str, model: str, acceptance: float, cost: float, clients: int
) -> None:
    load = Load(1000, 500, clients)
    none, nothing = (deployment(chip, model, each) for each in (False, Speculation(acceptance, 0, cost)))
    assert closed_loop(none, [load])[0].tpot == closed_loop(nothing, [load])[0].tpot
    assert speed_curve(none) == speed_curve(nothing)


@settings(max_examples=150, deadline=None)
@given(external, models, splits, drafted, costs, users, st.tuples(acceptances, acceptances))
def test_more_acceptance_is_never_slower(
    chip: str, model: str, split: Split | None, tokens: int, cost: float, clients: int, two: tuple[float, float]
) -> None:
    load = Load(2000, 300, clients)
    less, more = (
        served(Place(deployment(chip, model, Speculation(each, tokens, cost)), split), load) for each in sorted(two)
    )
    assert more.tpot.value <= less.tpot.value * (1 + 1e-9)
    assert e2e_s(more, load) <= e2e_s(less, load) * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(chips, models, acceptances, drafted, users, st.tuples(costs, costs))
def test_a_dearer_draft_is_never_faster(
    chip: str, model: str, acceptance: float, tokens: int, clients: int, two: tuple[float, float]
) -> None:
    cheap, dear = (deployment(chip, model, Speculation(acceptance, tokens, cost)) for cost in sorted(two))
    load = Load(2000, 300, clients)
    assert closed_loop(cheap, [load])[0].tpot.value <= closed_loop(dear, [load])[0].tpot.value * (1 + 1e-9)
    first, second = (decode_step_s(each, clients, 2000).value for each in (cheap, dear))
    assert first <= second * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(external, models, acceptances, drafted, costs, users)
def test_speculation_gains_at_most_its_tokens_per_pass_and_keeps_conservation(
    chip: str, model: str, acceptance: float, tokens: int, cost: float, clients: int
) -> None:
    place = deployment(chip, model, Speculation(acceptance, tokens, cost))
    load, per_pass = Load(2000, 300, clients), tokens_per_pass(acceptance, tokens)
    answer, plain = closed_loop(place, [load])[0], closed_loop(replace(place, speculation=False), [load])[0]
    assert answer.tpot.value >= plain.tpot.value / per_pass * (1 - 1e-9)
    claim = Claim(
        replace(place, max_batch=clients), e2e_s(answer, load), 2000.0 * clients, 300.0 * clients, None, None, per_pass
    )
    check_conservation([claim])


def test_a_single_user_gains_most_and_a_mixture_of_experts_less_than_a_dense_model() -> None:
    def gain(model: str, clients: int) -> float:
        plain, drafting = (
            closed_loop(deployment("H100", model, each), [Load(1000, 500, clients)])[0].tpot.value
            for each in (False, Speculation(0.7, 4, 0.05))
        )
        return plain / drafting

    assert gain("llama-3.1-70b", 1) > gain("llama-3.1-70b", 256)
    assert gain("llama-3.1-70b", 8) > gain("gpt-oss-120b", 8)


def test_a_speed_curve_says_how_many_tokens_a_pass_yields() -> None:
    curve = speed_curve(deployment("H100", "llama-3.1-70b", Speculation(0.5, 2, 0.1)))
    plain = speed_curve(deployment("H100", "llama-3.1-70b"))
    assert (plain.tokens_per_pass, curve.tokens_per_pass) == (1.0, pytest.approx(1.75))
    assert curve.step_s[0] == plain.step_s[0]  # a step that only prefills drafts nothing
    assert curve.step_s[1] < plain.step_s[1]


def test_on_sram_a_user_takes_as_many_places_of_the_pipeline_as_a_pass_checks() -> None:
    plain, drafting = (deployment("WSE-3", "gpt-oss-120b", each) for each in (False, Speculation(0.7, 3, 0.05)))
    assert speed_curve(plain).depth == 4 * speed_curve(drafting).depth
    assert speed_curve(drafting).tpot_s(1) < speed_curve(plain).tpot_s(1)


@pytest.mark.parametrize(
    ("chip", "speculation", "message"),
    [
        ("H100", True, "declare its acceptance, draft_tokens and draft_cost"),
        ("SN40L", Speculation(0.7, 4, 0.05), "say speculation = true"),
        ("Trainium2", Speculation(0.7, 4, 0.05), "say speculation = true"),
    ],
)
def test_speculation_that_nothing_is_known_of_is_refused(
    chip: str, speculation: Speculation | bool, message: str
) -> None:
    place = deployment(chip, "gpt-oss-120b", speculation)
    with pytest.raises(ModelRangeError, match=message):
        closed_loop(place, [Load(1000, 500)])
    with pytest.raises(ModelRangeError, match=message):
        speed_curve(place)
