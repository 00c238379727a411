"""How many attempts a backend may have so that answers keep their SLO on TPOT."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from policy_rig import SAMPLE

from headrace.policy.backend_states import backend_states
from headrace.policy.tpot_limit import LOWEST, TpotLimit
from headrace.workload import Slo, WorkloadClass

CODING = WorkloadClass("coding", 0.002, slo=Slo(tpot_s=0.05, attainment=0.95))
FAST, SLOW = 0.01, 0.1


def after(answers: list[tuple[float, float]], most: int = 20, in_flight: int = 20) -> TpotLimit:
    """A limit that saw answers of these (seconds of the end, TPOT), each of a second."""
    limit = TpotLimit(most)
    for at_s, tpot_s in answers:
        limit.answered(at_s, CODING, at_s - 1.0, tpot_s, in_flight)
    return limit


def test_nothing_is_held_while_no_more_miss_than_may() -> None:
    """One miss in fifty is within an attainment of 95 %."""
    assert after([(0.1 * k, SLOW if k % 50 == 49 else FAST) for k in range(1000)]).in_flight == inf


def test_a_class_without_an_slo_on_tpot_holds_nobody() -> None:
    limit = TpotLimit(20)
    slack = replace(CODING, name="batch", slo=Slo(ttft_s=1.0))
    for k in range(100):
        limit.answered(0.1 * k, slack, 0.1 * k - 1.0, 100.0, 20)
    assert limit.in_flight == inf
    held = after([(0.1 * k, SLOW) for k in range(100)])
    for k in range(1000):
        held.answered(10.0 + 0.1 * k, slack, 10.0, 100.0, 20)
    assert held.in_flight == inf, "who was held for another class is not held when that is gone"


def test_answers_that_were_sent_before_a_cut_cut_no_further() -> None:
    """All of one moment: they met the same crowd."""
    assert after([(1.0 + 0.001 * k, SLOW) for k in range(50)]).in_flight == 0.85 * 20


def test_a_limit_goes_when_no_answer_misses_any_more() -> None:
    """A minute without a miss, and all that can be run may be sent again."""
    missed = [(0.1 * k, SLOW) for k in range(100)]
    held = after(missed)
    assert held.in_flight < 20
    assert held.learns
    healed = after(missed + [(10.0 + 0.1 * k, FAST) for k in range(1000)])
    assert healed.in_flight == inf
    assert not healed.learns


@given(st.lists(st.tuples(st.floats(0.0, 1e5), st.sampled_from((FAST, SLOW))), max_size=60), st.integers(1, 64))
def test_a_limit_never_falls_below_its_part_of_what_a_backend_can_run(
    answers: list[tuple[float, float]], most: int
) -> None:
    """However many miss, and whatever the pauses between them."""
    limit = TpotLimit(most)
    at_s = 0.0
    for gap_s, tpot_s in answers:
        at_s += gap_s
        limit.answered(at_s, CODING, at_s, tpot_s, most)
        assert limit.in_flight >= max(1.0, LOWEST * most)


def test_a_backend_takes_no_more_than_its_limit_and_peers_do_not_lift_it() -> None:
    """What peers leave to it, and what answers bear, are both limits."""
    backend = next(each for each in backend_states(SAMPLE) if each.tpot_limit is not None)
    whole = backend.limit
    for _ in range(whole):
        backend.took(0.0, 1.0, 0.0)
    for k in range(200):
        backend.answered(0.1 * k, 0.1 * k, SLOW, CODING)
    assert 1 <= backend.limit < whole == backend.allowed
    held = backend.limit
    backend.limit_to(whole)
    assert backend.limit == held
    backend.limit_to(1)
    assert (backend.limit, backend.allowed) == (1, 1)


def test_a_successor_inherits_the_limit() -> None:
    """A reload in the middle of an overload does not fill the batches anew."""
    before, after_reload = (backend_states(SAMPLE) for _ in range(2))
    k = next(k for k, each in enumerate(before) if each.tpot_limit is not None)
    for _ in range(before[k].limit):
        before[k].took(0.0, 1.0, 0.0)
    for answer in range(200):
        before[k].answered(0.1 * answer, 0.1 * answer, SLOW, CODING)
    after_reload[k].inherit(before[k], SAMPLE.limits)
    assert after_reload[k].limit == before[k].limit < after_reload[k].allowed
