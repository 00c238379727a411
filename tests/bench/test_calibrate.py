"""Calibration recovers a server whose coefficients are known, and refuses what it cannot tell."""

from __future__ import annotations

import asyncio
import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from headrace.bench import (
    Budget,
    CalibrationResult,
    ProbeFile,
    ProbeHeader,
    ProbePlan,
    ProbeRecord,
    Spend,
    calibrate,
    calibration_text,
    probe,
    read_probe,
    select,
)
from headrace.bench.calibrate import fit_cells
from headrace.bench.fit import FitCell, FitJob, simulate_cell
from headrace.config import load_calibration
from headrace.emulate import EmulatedBackend
from headrace.errors import ConfigError
from headrace.fleet import Deployment, Model
from headrace.http import serve
from headrace.modelserver import BatchingServer
from headrace.perf import Serving, SpeedCurve, speed_curve

MODEL = Model("m", 1e9, 1e9, 1e9, 4, 1, 1, 1, 1, 1, 4096, 1000, "test")
PLAN = ProbePlan(max_input=1600, max_concurrency=4, repeats=3, output_tokens=48)
CURVE = SpeedCurve(
    serving=Serving.BATCHING,
    ttft_overhead_s=0.012,
    prefill_s_per_token=8e-5,
    prefill_s_per_token_squared=1.5e-8,
    step_s=(0.004, 0.006, 0.008, 0.010, 0.012, 0.014, 0.016),
    kv_s_per_token=1.2e-6,
    max_batch=6,
    chunk_tokens=4096,
    depth=1,
    kv_capacity_tokens=None,
    power_w=None,
    prefill_fixed_s=0.003,
)
HEADER = ProbeHeader(1, "http://127.0.0.1:1", "m", "2026-11-25T12:00:00+00:00")


def simulated_records(curve: SpeedCurve, plan: ProbePlan = PLAN, noise: float = 0.0) -> list[ProbeRecord]:
    """What a probe of a perfect server of this speed writes; `noise`: relative, a wave that averages out."""
    records = []
    for cell in plan.cells():
        first_s = 0.1 if cell.kind == "inject" else 0.0
        jobs = tuple(
            FitJob(index * 1e-4 + (first_s if shot.after_tokens else 0.0), shot.input_tokens, shot.max_tokens, 1.0, 1.0)
            for index, shot in enumerate(cell.shots)
        )
        if cell.kind in ("sizing", "prefix"):
            continue
        for index, (ttft_s, tpot_s) in enumerate(simulate_cell(curve, FitCell(cell.kind, len(jobs), jobs))):
            wave = 1.0 + noise * math.sin(12.9898 * len(records))
            records.append(
                ProbeRecord(
                    cell=cell.name,
                    kind=cell.kind,
                    attempt=0,
                    index=index,
                    at="2026-11-25T12:00:00.000+00:00",
                    sent_s=jobs[index].sent_s,
                    planned_input_tokens=jobs[index].input_tokens,
                    max_tokens=jobs[index].output_tokens,
                    prompt_bytes=4 * jobs[index].input_tokens,
                    outcome="completed",
                    status=200,
                    ttft_s=ttft_s * wave,
                    tpot_s=None if tpot_s is None else tpot_s * wave,
                    input_tokens=jobs[index].input_tokens,
                    output_tokens=jobs[index].output_tokens,
                    gap_max_s=_stall_s(curve, jobs) if cell.kind == "inject" and index == 0 else None,
                )
            )
    return records


def _stall_s(curve: SpeedCurve, jobs: tuple[FitJob, ...]) -> float:
    tokens = min(jobs[1].input_tokens, curve.chunk_tokens)
    return curve.tpot_s(1, jobs[0].input_tokens) + curve.prefill_s(tokens)


def check(result: CalibrationResult, rel: float, curve: SpeedCurve = CURVE) -> None:
    """What matters of the coefficients: the speeds that they give."""
    found = result.coefficients
    steps = {batch: step.value for batch, step in result.steps}
    assert found["prefill_s_per_token"].value == pytest.approx(curve.prefill_s_per_token, rel=2 * rel)
    for batch, step_s in steps.items():
        assert step_s == pytest.approx(curve.step_s[batch], rel=rel)
    for tokens in (100, 1600):
        fixed = found["ttft_overhead_s"].value + found["prefill_fixed_s"].value
        linear, squared = found["prefill_s_per_token"].value, found["prefill_s_per_token_squared"].value
        empty_s = max(0.0, 2 * steps[1] - steps[2])
        ttft_s = fixed + empty_s + tokens * linear + tokens**2 * squared
        assert ttft_s == pytest.approx(curve.ttft_s(tokens), rel=rel)


def test_a_perfect_probe_gives_the_coefficients_back() -> None:
    result = calibrate([(HEADER, simulated_records(CURVE))])
    check(result, 0.01)
    found = result.coefficients
    assert found["kv_s_per_token"].value == pytest.approx(CURVE.kv_s_per_token, rel=0.03)
    assert found["prefill_fixed_s"].value == pytest.approx(CURVE.prefill_fixed_s, rel=0.05)
    assert (result.max_batch.value, result.max_batch.n) == (6, 3)
    assert max(result.ttft.p90, result.tpot.p90) < 0.01
    assert result.held_out_ttft is not None
    assert result.held_out_ttft.p90 < 0.02


def test_noise_widens_the_intervals_and_they_hold_the_truth() -> None:
    exact = calibrate([(HEADER, simulated_records(CURVE))])
    noisy = calibrate([(HEADER, simulated_records(CURVE, noise=0.05))])
    check(noisy, 0.06)
    for (_, sharp), (batch, wide) in zip(exact.steps, noisy.steps, strict=True):
        assert wide.high - wide.low > sharp.high - sharp.low
        assert 0.95 * wide.low <= CURVE.step_s[batch] <= 1.05 * wide.high


def test_a_prefill_chunk_is_read_off_the_stalls_of_others() -> None:
    chunked = replace(CURVE, chunk_tokens=256)
    result = calibrate([(HEADER, simulated_records(chunked))])
    assert result.chunk_tokens.value == pytest.approx(256, rel=0.15)
    assert result.chunk_tokens.n > 0
    whole = calibrate([(HEADER, simulated_records(CURVE))]).chunk_tokens
    assert (whole.n, whole.low) == (0, 1600)


def test_slots_that_are_stated_are_taken_and_steps_beyond_are_extrapolated(tmp_path: Path) -> None:
    plan = ProbePlan(max_input=1600, max_concurrency=4, repeats=2, output_tokens=48, queue=False)
    records = simulated_records(CURVE, plan)
    unstated = calibrate([(HEADER, records)]).max_batch
    assert (unstated.value, unstated.n) == (4, 0)
    assert "--max-batch" in unstated.note
    stated = calibrate([(HEADER, records)], 6)
    path = tmp_path / "c.toml"
    path.write_text(calibration_text("c", stated, ["p.jsonl"], "2026-11-25"))
    curve = speed_curve(Deployment("d", MODEL, calibrated=load_calibration(path)))
    assert curve.step_s == pytest.approx(CURVE.step_s, rel=0.03)
    with pytest.raises(ConfigError, match="--max-batch: 3 is less than 4"):
        calibrate([(HEADER, records)], 3)


def test_the_emulator_is_recovered_over_the_wire(tmp_path: Path) -> None:
    """Real HTTP, real time: the whole way from a probe to a speed curve."""
    plan = ProbePlan(max_input=1600, max_concurrency=2, repeats=2, output_tokens=32)
    path = tmp_path / "probe.jsonl"

    async def main() -> float:
        loop = asyncio.get_running_loop()
        backend = EmulatedBackend("b", "m", BatchingServer(CURVE), 0, loop.time)
        server = await serve(backend.handle, "127.0.0.1", 0)
        header = ProbeHeader(1, f"http://127.0.0.1:{server.port}", "m", "2026-11-25")
        selection = select(plan.cells(), (), Spend(), Budget())
        await probe(selection, ProbeFile(path, header), Budget())
        backend.close()
        await server.close()
        return backend.lateness.quantile(0.9) or 0.0

    late_s = uvloop.run(main())
    result = calibrate([read_probe(path)])
    if late_s < 0.2 * CURVE.step_s[1]:  # else the machine was too busy for the emulator to keep its own times
        check(result, 0.15)
    text = calibration_text("e", result, [path.name], "2026-11-25")
    assert tomllib.loads(text)["origin"]["model"] == "m"


def test_what_the_probe_cannot_tell_is_named() -> None:
    records = simulated_records(CURVE)
    alone = [record for record in records if record.kind == "single" and record.planned_input_tokens == 1600]
    with pytest.raises(ConfigError) as caught:
        calibrate([(HEADER, alone)])
    assert [fault.path for fault in caught.value.faults] == ["prefill_s_per_token", "decode_step_s"]
    with pytest.raises(ConfigError, match="prefill_s_per_token: 0 single requests"):
        calibrate([(HEADER, [])])


def test_probes_of_several_models_are_refused() -> None:
    other = ProbeHeader(1, HEADER.url, "other", "")
    with pytest.raises(ConfigError, match="of several endpoints"):
        calibrate([(HEADER, simulated_records(CURVE)), (other, [])])


def test_what_failed_or_came_from_a_cache_is_not_fitted() -> None:
    single, *_ = (record for record in simulated_records(CURVE) if record.kind == "single")
    from msgspec.structs import replace as changed

    assert len(fit_cells([single])) == 1
    assert fit_cells([changed(single, outcome="failed")]) == []
    assert fit_cells([changed(single, cached_input_tokens=100)]) == []
