"""Sessions in the simulator: the same turns whatever the fleet, later where it is slower, and conserved."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_rig import one_pool_fleet

from headrace.fleet import Limits, OperatingPoint
from headrace.sim import simulate
from headrace.workload import AGENT_TASKS, AgentTasks, ClassTraffic, Request, Turn, generate

BUSY = AgentTasks(AGENT_TASKS.agent, sub_agent_fraction=0.05, most_sub_agents=3, sub_agent_turns=(2, 4))
PATIENT = Limits(queue_depth=10**9, queue_timeout_s=1e9, first_byte_timeout_s=1e9)


def point(tpot_s: float) -> OperatingPoint:
    return OperatingPoint(ttft_s=0.1, input_tokens_per_s=1e6, tpot_s=tpot_s)


def session(*pauses_s: float) -> list[Request]:
    last = len(pauses_s)
    earliest_s, requests = 0.0, []
    for number, pause_s in enumerate((0.0, *pauses_s)):
        earliest_s += pause_s
        turn = Turn("t", "t", number, pause_s, ends_session=number == last, ends_task=number == last)
        requests.append(Request(earliest_s, "chat", 1000, 101, turn=turn))
    return requests


def test_a_session_takes_its_answers_and_its_pauses() -> None:
    fleet = one_pool_fleet(point=point(0.01), limits=PATIENT)
    result = simulate(fleet, iter(session(5.0, 2.0)))
    tasks = result.metrics.classes["chat"].tasks
    assert tasks is not None
    one_answer_s = 0.1 + 1000 / 1e6 + 100 * 0.01
    assert tasks.e2e.quantile(0.5) == pytest.approx(3 * one_answer_s + 7.0, rel=0.01)
    assert result.last_arrival_s == pytest.approx(2 * one_answer_s + 7.0, rel=0.01)


def test_traffic_without_sessions_reports_no_tasks() -> None:
    fleet = one_pool_fleet(point=point(0.01), limits=PATIENT)
    result = simulate(fleet, iter([Request(0.0, "chat", 10, 10)]))
    assert result.metrics.classes["chat"].tasks is None


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(1e-4, 0.05))
def test_every_turn_of_every_agent_ends_once_and_slower_silicon_never_ends_a_task_sooner(
    seed: int, tpot_s: float
) -> None:
    traffic = list(islice(generate([ClassTraffic("chat", BUSY, 5.0)], float("inf"), seed), 120))
    closing = {request.turn.task for request in traffic if request.turn and request.turn.ends_task}
    whole = [request for request in traffic if request.turn and request.turn.task in closing]
    ends = []
    for factor in (1.0, 2.0):
        fleet = one_pool_fleet(max_in_flight=10_000, point=point(tpot_s * factor), limits=PATIENT)
        result = simulate(fleet, iter(whole))
        totals = result.metrics.classes["chat"]
        assert totals.arrived == totals.outcomes["completed"] == len(whole)
        assert (totals.tasks.count if totals.tasks else 0) == len(closing)
        ends.append(result.end_s)
    assert ends[0] <= ends[1]
