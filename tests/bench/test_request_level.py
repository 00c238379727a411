"""Recorded runs against the model server: what is known can be found again, and the judged half teaches nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from headrace.bench.validation import requests
from headrace.bench.validation.requests import RecordedRun, curve_of, recorded_runs, replayed
from headrace.fleet import catalog
from headrace.rng import stream

SLOTS = 8
TRUE = {
    "ttft_overhead_s": 0.02,
    "prefill_fixed_s": 0.004,
    "prefill_s_per_token": 4e-5,
    "step_fixed_s": 0.012,
    "sequence_s": 5e-4,
    "kv_s_per_token": 8e-7,
}
BEGUN_S = 0.01  # before the first token comes: less than any prefill
Rows = list[dict[str, str]]


def recorded(slots: int = SLOTS, kv_room_tokens: int | None = None) -> Rows:
    """Rows as a server of the known speed would have left them: it falls behind, so that a queue builds up."""
    chance = stream(3, "recorded")
    times = sorted(round(chance.uniform(0.0, 30.0), 4) for _ in range(80))
    sizes = [(chance.randrange(100, 1500), chance.randrange(150, 400)) for _ in times]
    jobs = tuple(requests.FitJob(at_s, *size, 0.0, 0.0) for at_s, size in zip(times, sizes, strict=True))
    run = RecordedRun("chip", catalog.find_model("llama-3.1-8b"), 1, slots, 2048, kv_room_tokens, jobs)
    return [
        {
            "system": "chip",
            "model": "llama-3.1-8b",
            "tp": "1",
            "max_num_seqs": str(SLOTS),
            "max_batched_tokens": "2048",
            "isl": str(job.input_tokens),
            "osl": str(job.output_tokens),
            "arrival_s": str(job.sent_s),
            "queue_s": str(max(0.0, ttft_s - BEGUN_S)),
            "ttft_s": str(ttft_s),
            "e2e_s": str(ttft_s + tpot_s * (job.output_tokens - 1)),
            "tpot_ms": str(1000.0 * tpot_s),
        }
        for job, (ttft_s, tpot_s) in zip(jobs, replayed(run, curve_of(run, TRUE)), strict=True)
    ]


def test_a_server_of_known_speed_is_predicted_on_the_half_that_the_fit_did_not_see() -> None:
    section = requests.section_of(recorded_runs(recorded()))
    figures = {row.label: row for row in section.rows if row.judged == requests.WHOLE}
    assert set(figures) == {"TTFT mean", "TTFT p90", "TPOT mean"}
    assert figures["TTFT mean"].measured > 5.0  # it did queue
    assert all(abs(row.error) < 0.01 for row in figures.values())
    (run,) = recorded_runs(recorded())
    assert section.points == run.seen
    assert section.parameters == len(TRUE)
    assert len(section.rows) == 3 + 2 * (len(run.jobs) - run.seen)


def test_what_the_judged_half_measured_does_not_reach_the_fit() -> None:
    (run,) = recorded_runs(recorded())
    late = [replace(job, ttft_s=9.0 * job.ttft_s, tpot_s=0.5) for job in run.jobs[run.seen :]]
    changed = replace(run, jobs=(*run.jobs[: run.seen], *late))
    assert requests.fit_run(changed) == requests.fit_run(run)


def test_the_halves_are_halves_of_the_time_whatever_the_order_of_the_rows() -> None:
    rows = recorded()
    (run,), (turned,) = recorded_runs(rows), recorded_runs(rows[::-1])
    assert turned == run
    middle_s = (run.jobs[0].sent_s + run.jobs[-1].sent_s) / 2.0
    assert run.jobs[run.seen - 1].sent_s < middle_s <= run.jobs[run.seen].sent_s


def test_slots_are_as_many_as_the_record_shows() -> None:
    (run,) = recorded_runs(recorded(slots=2 * SLOTS))
    assert run.max_batch > SLOTS
    assert run.kv_room_tokens is None


def test_kv_room_is_what_the_first_half_held_where_requests_queued_beside_free_slots() -> None:
    room = 4000
    (run,) = recorded_runs(recorded(kv_room_tokens=room))
    assert run.kv_room_tokens is not None
    assert 0.75 * room <= run.kv_room_tokens <= room
    assert requests.free_parameters(run) == len(TRUE) + 1


def test_runs_are_told_apart_by_system_model_and_chips() -> None:
    rows = recorded()
    others = [{**row, "tp": "2"} for row in rows]
    assert [run.chips for run in recorded_runs([*rows, *others])] == [1, 2]


def test_experts_make_a_step_grow_less_and_less() -> None:
    (dense,) = recorded_runs(recorded())
    run = replace(dense, model=catalog.find_model("qwen3-30b-a3b"))
    names = {parameter.name for parameter in requests.parameters_of(run)}
    assert names == {*TRUE, "experts_s", "skew"}
    steps = curve_of(run, {**TRUE, "experts_s": 0.02, "skew": 0.6}).step_s
    growth = [after - before for before, after in pairwise(steps)]
    assert growth == sorted(growth, reverse=True)
    assert growth[-1] > TRUE["sequence_s"]
    assert steps[0] == pytest.approx(TRUE["step_fixed_s"])
