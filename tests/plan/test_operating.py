"""Where a replica is run: laws of queueing and of operating points, and the curve against the closed form behind it."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InvariantError, ModelRangeError
from headrace.fleet import Deployment, OperatingPoint, Split, catalog
from headrace.perf import Load, closed_loop, speed_curve
from headrace.plan.operating import Ask, conserves, operating_points, station_of
from headrace.plan.queueing import mean_wait_s, wait_quantile_s, waiting_chance
from headrace.plan.speeds import planned_curve

MODEL = catalog.model("gpt-oss-120b")
H100 = Deployment("h100", MODEL, catalog.accelerator("H100"), count=4, max_batch=256)
WAFERS = Deployment("wafers", MODEL, catalog.accelerator("WSE-3"), count=4, max_batch=256)
TRAINIUM = Deployment("trn2", MODEL, catalog.accelerator("Trainium2"), count=16, weight_bits=16, max_batch=16)
EVERY = [H100, WAFERS, TRAINIUM, replace(H100, name="split", split=Split(1, 2, 4e11, 0.001))]
ONE = np.ones(1)
LOOSE = {"ttft_s": 60.0, "tpot_s": 1.0}


def ask(**given: float) -> Ask:
    values = {
        "input_tokens": 4000.0,
        "fresh_tokens": 4000.0,
        "output_tokens": 300.0,
        "ttft_s": 2.0,
        "tpot_s": 0.05,
        "e2e_s": inf,
        "miss": 0.05,
        "burstiness": 1.0,
        "hold_s": 0.0,
        "usd_per_s": 0.0,
    }
    if "input_tokens" in given and "fresh_tokens" not in given:
        values["fresh_tokens"] = given["input_tokens"]
    return Ask(**{name: np.array([value]) for name, value in (values | given).items()})


def point(deployment: Deployment, pooled: int = 1, **given: float):  # type: ignore[no-untyped-def]
    station = station_of(deployment, speed_curve(deployment))
    return operating_points(station, ask(**given), 1e-3, pooled)[0]


def erlang_c(places: int, load: float) -> float:
    offered, blocked = places * load, 1.0
    for k in range(1, places + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


@pytest.mark.parametrize("places", [1, 4, 16, 64, 251])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_the_chance_of_waiting_is_close_to_erlangs(places: int, load: float) -> None:
    found = float(waiting_chance(np.array([float(places)]), np.array([load]), ONE)[0])
    assert found == pytest.approx(erlang_c(places, load), abs=0.055)


def test_one_server_waits_as_in_m_m_1_near_saturation() -> None:
    load, service_s = np.array([0.9]), np.array([2.0])
    mean = float(mean_wait_s(ONE, load, service_s, ONE)[0])
    assert mean == pytest.approx(0.9 * 2.0 / 0.1, rel=0.05)
    quantile = float(wait_quantile_s(ONE, load, service_s, ONE, np.array([0.05]))[0])
    assert 0.9 * exp(-0.1 * quantile / 2.0) == pytest.approx(0.05, rel=0.1)


@given(st.integers(1, 2000), st.floats(0.0, 0.99), st.floats(0.0, 0.009), st.floats(0.5, 20.0))
def test_waits_grow_with_load_and_burstiness(places: int, load: float, more: float, burstiness: float) -> None:
    at = [np.array([value]) for value in (float(places), load, 1.0, burstiness, 0.05)]
    base = wait_quantile_s(*at)[0]
    assert wait_quantile_s(at[0], np.array([load + more]), *at[2:])[0] >= base
    assert wait_quantile_s(*at[:3], np.array([burstiness * 1.5]), at[4])[0] >= base
    assert wait_quantile_s(at[0] + 1.0, *at[1:])[0] <= base


def test_what_the_essay_says_of_large_stations() -> None:
    """At 5 % waiting, 13 sessions hold 7 and 251 hold about 222."""
    for places, held in ((13, 7), (251, 222)):
        loads = np.linspace(0.0, 0.999, 1000)
        chance = waiting_chance(np.full(1000, float(places)), loads, np.ones(1000))
        assert round(places * float(loads[np.flatnonzero(chance <= 0.05)[-1]])) == pytest.approx(held, abs=1)


@pytest.mark.parametrize("deployment", EVERY, ids=lambda one: one.name)
def test_a_point_keeps_its_promises(deployment: Deployment) -> None:
    found = point(deployment, **LOOSE)
    assert found is not None
    assert found.slo_ttft_s <= 60.0 * (1 + 1e-9)
    assert found.slo_tpot_s <= 1.0
    assert 0.0 < found.rate_per_s <= found.capacity_per_s
    assert found.ttft_s <= found.slo_ttft_s
    assert found.tpot_s <= found.slo_tpot_s
    assert found.e2e_s == pytest.approx(found.ttft_s + 299.0 * found.tpot_s)


@pytest.mark.parametrize("deployment", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("stricter", [{"ttft_s": 1.0}, {"tpot_s": 0.1}, {"e2e_s": 40.0}, {"miss": 0.01}])
def test_a_stricter_promise_never_fits_more(deployment: Deployment, stricter: dict[str, float]) -> None:
    loose = point(deployment, **LOOSE)
    tight = point(deployment, **(LOOSE | stricter))
    assert loose is not None
    assert tight is None or tight.rate_per_s <= loose.rate_per_s * (1 + 1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(100.0, 60_000.0), st.floats(10.0, 2000.0), st.floats(1.05, 3.0), st.sampled_from(EVERY))
def test_longer_requests_take_more_of_a_unit(
    inputs: float, outputs: float, factor: float, deployment: Deployment
) -> None:
    promise = {"ttft_s": inf, "tpot_s": inf, "e2e_s": 600.0}
    base = point(deployment, input_tokens=inputs, output_tokens=outputs, **promise)
    for longer in ({"input_tokens": inputs * factor}, {"output_tokens": outputs * factor}):
        found = point(deployment, **({"input_tokens": inputs, "output_tokens": outputs} | longer | promise))
        if base is None:
            assert found is None
        else:
            assert found is None or found.rate_per_s <= base.rate_per_s * (1 + 1e-6)


def test_units_that_share_a_queue_may_be_filled_further() -> None:
    rates = [found.rate_per_s for found in (point(WAFERS, pooled) for pooled in (1, 4, 64)) if found is not None]
    assert len(rates) == 3
    assert rates == sorted(rates)
    assert rates[0] < rates[2]


def test_where_waiting_is_dear_a_replica_is_not_filled() -> None:
    """The dearer a second, the sooner the answer, and the more of a unit it takes."""
    found = [point(WAFERS, **LOOSE, usd_per_s=usd) for usd in (0.0, 1e-4, 1e-2, 1.0)]
    assert [one.rate_per_s for one in found] == sorted((one.rate_per_s for one in found), reverse=True)
    assert [one.e2e_s for one in found] == sorted((one.e2e_s for one in found), reverse=True)
    assert found[-1].concurrency < found[0].concurrency


def test_a_cache_saves_prefill_and_takes_room() -> None:
    full, cached = point(H100), point(H100, fresh_tokens=400.0)
    kept = point(H100, fresh_tokens=400.0, hold_s=300.0)
    assert full is not None
    assert cached is not None
    assert kept is not None
    assert cached.rate_per_s > full.rate_per_s
    assert kept.rate_per_s < cached.rate_per_s
    room = speed_curve(H100).kv_capacity_tokens
    assert room is not None
    held = (kept.concurrency + kept.rate_per_s * 300.0) * 4300.0
    assert held <= room * (1 + 1e-9)


def test_on_sram_sessions_are_bounded_by_kv_bytes() -> None:
    room = speed_curve(WAFERS).kv_capacity_tokens
    found = point(WAFERS, input_tokens=90_000.0, ttft_s=60.0)
    assert room is not None
    assert found is not None
    assert found.concurrency <= room / 90_300.0


@pytest.mark.parametrize("concurrency", [8, 32, 128])
@pytest.mark.parametrize("sizes", [(1000, 300), (8000, 400)])
def test_the_curve_is_the_closed_form_it_was_condensed_from(concurrency: int, sizes: tuple[int, int]) -> None:
    """TPOT within 15 %, throughput within 10 %: the form adds a benchmark's bursts, which are no replica's."""
    curve, (inputs, outputs) = speed_curve(H100), sizes
    load = Load(inputs, outputs, concurrency)
    served = closed_loop(H100, [load])[0]
    step = curve.step_s[concurrency] + curve.kv_s_per_token * concurrency * (inputs + outputs / 2)
    prefill = curve.prefill_s(inputs)
    assert step + (concurrency - 1) * prefill / outputs == pytest.approx(served.tpot.value, rel=0.15)
    stay = outputs * step + concurrency * prefill
    assert concurrency / stay == pytest.approx(served.tokens_per_s(load) / outputs, rel=0.1)


@pytest.mark.parametrize("deployment", EVERY[:3], ids=lambda one: one.name)
def test_chosen_points_conserve_flops_bytes_and_kv(deployment: Deployment) -> None:
    curve, promised = speed_curve(deployment), ask(ttft_s=60.0, tpot_s=1.0)
    points = operating_points(station_of(deployment, curve), promised)
    conserves(deployment, promised, points, curve.tokens_per_pass)
    assert points[0] is not None
    impossible = [replace(points[0], capacity_per_s=points[0].capacity_per_s * 1e4)]
    with pytest.raises(InvariantError, match="breaks conservation"):
        conserves(deployment, promised, impossible, curve.tokens_per_pass)


def test_a_service_has_no_units() -> None:
    service = Deployment("api", MODEL, observed=OperatingPoint(0.2, 1e4, 0.001))
    with pytest.raises(ModelRangeError, match="is a service"):
        station_of(service, speed_curve(service))


def test_outlooks_span_the_interval_of_the_speed_model() -> None:
    slow, expected, fast = (planned_curve(H100, outlook) for outlook in (-1.0, 0.0, 1.0))
    assert slow.step_s[64] > expected.step_s[64] > fast.step_s[64]
    assert slow.prefill_s_per_token > expected.prefill_s_per_token > fast.prefill_s_per_token
    assert expected == speed_curve(H100)
    half = planned_curve(H100, -0.5)
    assert half.step_s[64] ** 2 == pytest.approx(slow.step_s[64] * expected.step_s[64])
    with pytest.raises(ModelRangeError, match="outside -1"):
        planned_curve(H100, 2.0)
