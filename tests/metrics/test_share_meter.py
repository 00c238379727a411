from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.metrics import AttemptRecord, Reason, ShareMeter, WindowSettings, WindowVerdict, WorkRate

TOKENS = WorkRate(0.0, 0.0, 1.0)
BOTH = ("gpu", "fast")


def attempt(pool: str, at_s: float, work: int, end_s: float | None = None, eligible=BOTH) -> AttemptRecord:
    return AttemptRecord(pool, at_s, at_s + 1 if end_s is None else end_s, 100, work, 0.0, eligible)


def meter(verdicts: list[WindowVerdict] | None = None, **options) -> ShareMeter:
    on_window = None if verdicts is None else verdicts.append
    return ShareMeter(["fast"], TOKENS, 0.1, on_window=on_window, **options)


def naive_windows(attempts: list[AttemptRecord], end_s: float) -> list[tuple[float, float]]:
    found = []
    for start_s in range(0, int(end_s) - 299, 10):
        inside = [a for a in attempts if start_s <= a.dispatch_s < start_s + 300]
        total = sum(a.output_tokens for a in inside)
        if total:
            found.append((start_s, sum(a.output_tokens for a in inside if a.pool == "fast") / total))
    return found


ATTEMPTS = st.lists(
    st.builds(
        lambda pool, at_s, lasts_s, work: attempt(pool, at_s, work, at_s + lasts_s),
        st.sampled_from(BOTH),
        st.floats(0, 1500),
        st.floats(0, 800),
        st.integers(0, 50),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ATTEMPTS)
def test_windows_equal_a_recount_whatever_the_order_of_the_ends(attempts: list[AttemptRecord]) -> None:
    verdicts: list[WindowVerdict] = []
    share = meter(verdicts)
    for record in sorted(attempts, key=lambda record: record.end_s):
        share.book(record)
    share.close(1600)
    assert {v.start_s: v.realized for v in verdicts} == pytest.approx(dict(naive_windows(attempts, 1600)))
    assert share.late == 0
    assert share.judged == share.feasible + sum(share.reasons.values())


def test_only_full_windows_inside_the_run_are_judged() -> None:
    share = meter()
    for at_s in range(0, 400, 5):
        share.book(attempt("gpu", at_s, 1))
    share.close(299.9)
    assert share.judged == 0
    share.close(319.9)
    assert share.judged == 2


def test_a_run_shorter_than_a_window_has_no_worst_error() -> None:
    share = meter()
    share.book(attempt("fast", 1.0, 10))
    share.close(60)
    assert (share.judged, share.worst_error_pp, share.realized) == (0, None, 1.0)


def test_memory_does_not_grow_with_the_run() -> None:
    share = meter()
    most = 0
    for second in range(20_000):
        share.book(attempt("fast" if second % 10 == 0 else "gpu", second, 10))
        most = max(most, sum(len(slot.free) for slot in share._slots.values()))
    assert most <= 300 + 900 + 20
    share.close(20_000)
    assert share.judged == (20_000 - 300) // 10 + 1
    assert share.worst_error_pp == pytest.approx(0.0)


def test_an_attempt_that_outlives_the_horizon_counts_as_late_and_in_the_whole() -> None:
    share = meter(settings=WindowSettings(300, 10, 100))
    share.book(attempt("gpu", 1000, 10))
    share.book(attempt("fast", 100, 10, end_s=1001))
    assert (share.late, share.realized) == (1, 0.5)


def test_the_worst_error_leaves_infeasible_windows_out() -> None:
    share = meter()
    share.book(attempt("gpu", 5, 10_000, eligible=("gpu",)))
    for at_s in range(20, 600):
        share.book(attempt("fast" if at_s % 10 == 0 else "gpu", at_s, 1))
    share.close(600)
    assert share.reasons == {Reason.ROUTE: 1}
    assert share.judged == share.feasible + 1
    assert share.worst_error_pp is not None
    assert share.worst_error_pp < 0.5


def test_where_an_attempt_really_went_was_possible() -> None:
    share = meter()
    for at_s in range(300):
        share.book(attempt("fast" if at_s % 2 else "gpu", at_s, 1, eligible=()))
    share.close(300)
    assert share.reasons == {Reason.ROUTE: 1}


def test_capacity_may_be_a_function_of_the_window() -> None:
    asked: list[tuple[float, float]] = []

    def capacity(start_s: float, end_s: float) -> float:
        asked.append((start_s, end_s))
        return 1.0

    share = meter(capacity_work=capacity)
    for at_s in range(300):
        share.book(attempt("gpu", at_s, 1))
    share.close(300)
    assert (asked, share.reasons) == ([(0.0, 300.0)], {Reason.CAPACITY: 1})


def test_the_recent_share_looks_back_one_window() -> None:
    share = meter()
    share.book(attempt("fast", 10, 10))
    share.book(attempt("gpu", 400, 30))
    share.book(attempt("fast", 405, 10))
    assert share.recent(410) == 0.25
    assert share.recent(2000) is None


def test_random_traffic_at_the_target_is_judged_feasible() -> None:
    random = Random(1)
    share = meter()
    for index in range(3000):
        share.book(attempt(random.choices(BOTH, (9, 1))[0], index / 2, random.randint(1, 40)))
    share.close(1500)
    assert share.judged == share.feasible == 121


def test_an_outage_excuses_what_it_alone_took_beyond_the_tolerance() -> None:
    verdicts: list[WindowVerdict] = []
    share = meter(verdicts)
    for at_s in range(600):
        inside = at_s % 10 == 0
        down = 290 <= at_s < 320
        one = attempt("fast" if inside and not down else "gpu", float(at_s), 1, eligible=("gpu",) if down else BOTH)
        share.book(msgspec.structs.replace(one, down_pools=("fast",) if down else ()))
    share.close(600)
    reasons = {v.start_s: v.infeasible and v.infeasible.reason for v in verdicts}
    lost_pp = {v.start_s: v.error_pp for v in verdicts}
    assert lost_pp[0] == pytest.approx(100 * 1 / 300), "a third of the outage"
    assert reasons[0] is None, "within the tolerance"
    assert lost_pp[10] == pytest.approx(200 / 300)
    assert reasons[10] is Reason.OUTAGE
    assert reasons[20] is reasons[290] is Reason.OUTAGE
    assert all(reason is None for start_s, reason in reasons.items() if start_s >= 310 or start_s == 0)


def test_a_route_that_never_led_inside_excuses_nothing() -> None:
    verdicts: list[WindowVerdict] = []
    share = meter(verdicts)
    for at_s in range(600):
        share.book(attempt("gpu", float(at_s), 1, eligible=("gpu",) if at_s % 2 else BOTH))
    share.close(600)
    assert share.feasible == share.judged > 0
    assert share.worst_error_pp == pytest.approx(10.0)
