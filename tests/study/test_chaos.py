"""Chaos: every scenario ends as a correct system shows it, and the judge sees when one does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import uvloop

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.ledger.reader import Entry
from headrace.metrics.usage import AttemptStatus
from headrace.study.chaos import SCENARIOS, End, Scenario, Verdict, run_scenarios
from headrace.study.chaos.client import Reply
from headrace.study.chaos.judge import end_of, faults_of
from headrace.wire import ApiName
from headrace.wire.canonical import Ended, Event, Failed, Finished, Started, TextDelta

IN_EVERY_API = (
    "cut after 5",
    "cut twice",
    "error inside the stream",
    "cut inside a tool call",
    "going on refused by all",
)
BEGUN: tuple[Event, ...] = (Started("a", "m", 1), TextDelta("one "), TextDelta("two"))
WHOLE: tuple[Event, ...] = (*BEGUN, Finished("stop"), Ended())


def verdict_on(fleet: Fleet, scenario: Scenario, api: ApiName) -> Verdict:
    (found,) = uvloop.run(run_scenarios(fleet, [scenario], [api], lambda _: None))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_every_scenario_ends_as_a_correct_system_shows_it(scenario: Scenario) -> None:
    assert verdict_on(load_fleet(), scenario, "chat").faults == ()


@pytest.mark.parametrize("api", ["completions", "responses", "messages"])
@pytest.mark.parametrize("name", IN_EVERY_API)
def test_an_answer_that_breaks_is_gone_on_with_in_every_api(name: str, api: ApiName) -> None:
    (scenario,) = [each for each in SCENARIOS if each.name == name]
    found = uvloop.run(run_scenarios(load_fleet(), [scenario], [api], lambda _: None))
    assert [verdict.faults for verdict in found] == [()] * (0 if scenario.calls and api == "completions" else 1)


@pytest.mark.parametrize("name", ["cut after 5", "cut twice"])
def test_backends_with_names_of_their_own_end_a_scenario_likewise(name: str) -> None:
    fleet = load_fleet()
    pools = {
        pool.name: replace(
            pool, backends=tuple(replace(each, served_model_name=f"at/{each.name}") for each in pool.backends)
        )
        for pool in fleet.pools.values()
    }
    (scenario,) = [each for each in SCENARIOS if each.name == name]
    assert verdict_on(replace(fleet, pools=pools), scenario, "chat").faults == ()


def test_where_nobody_can_go_on_a_broken_answer_is_seen_to_be_broken() -> None:
    fleet = load_fleet()
    pools = {
        name: replace(pool, backends=tuple(replace(each, dialect="openai") for each in pool.backends))
        for name, pool in fleet.pools.items()
    }
    (scenario,) = [each for each in SCENARIOS if each.name == "cut after 20"]
    found = verdict_on(replace(fleet, pools=pools), scenario, "chat")
    assert (found.ends, found.faults) == ("broken", ())


def reply(
    *events: Event, status: int | None = 200, proper: bool = True, headers: dict[bytes, bytes] | None = None
) -> Reply:
    return Reply(status, headers or {}, list(events), proper)


def entry(number: int, request_id: int, status: AttemptStatus) -> Entry:
    return Entry(
        1, number, request_id, "b", "chat", status, 0.0, 1.0, 1, 1, 1, 0, True, "r", None, None, "chat", "first", "t"
    )


GOOD = [entry(1, 1, AttemptStatus.COMPLETED)]
ASKED = Scenario(name="asked")
WRONG: list[tuple[str, Scenario, Reply, Sequence[Entry]]] = [
    ("not answered", ASKED, reply(*BEGUN, proper=False), GOOD),
    ("another text", ASKED, reply(BEGUN[0], TextDelta("one one two"), Finished("stop"), Ended()), GOOD),
    ("the answer begins twice", ASKED, reply(BEGUN[0], *WHOLE), GOOD),
    ("two finish reasons", ASKED, reply(*BEGUN, Finished("stop"), Finished("stop"), Ended()), GOOD),
    ("something comes after the end", ASKED, reply(*BEGUN, Finished("stop"), Ended(), Failed(500, "x")), GOOD),
    ("ends in good order", Scenario(name="b", end=End.BROKEN), reply(*BEGUN), GOOD),
    ("no part of the answer", Scenario(name="b", end=End.BROKEN), reply(TextDelta("two"), proper=False), GOOD),
    ("HTTP 503, not 429", Scenario(name="r", end=End.REFUSED, status=(429,)), reply(status=503), ()),
    ("without saying when", Scenario(name="r", end=End.REFUSED, says_when=True), reply(status=503), ()),
    ("still open", ASKED, reply(*WHOLE), [*GOOD, entry(2, 2, AttemptStatus.OPEN)]),
    ("answered twice", ASKED, reply(*WHOLE), [*GOOD, entry(2, 1, AttemptStatus.COMPLETED)]),
    ("at most 1", Scenario(name="a", max_attempts=1), reply(*WHOLE), [*GOOD, entry(2, 1, AttemptStatus.FAILED)]),
    ("0 completed requests", ASKED, reply(*WHOLE), ()),
]


@pytest.mark.parametrize(("said", "scenario", "given", "attempts"), WRONG, ids=[each[0] for each in WRONG])
def test_the_judge_sees_what_is_wrong(said: str, scenario: Scenario, given: Reply, attempts: Sequence[Entry]) -> None:
    found = faults_of(scenario, [given], reply(*WHOLE), attempts, can_go_on=True)
    assert any(said in fault for fault in found), found


def test_the_judge_has_nothing_to_say_against_a_whole_answer() -> None:
    assert faults_of(ASKED, [reply(*WHOLE)], reply(*WHOLE), GOOD, can_go_on=True) == []
    assert end_of(reply(*WHOLE), ASKED) is End.ANSWERED
