"""The history: what was used in a window, whatever becomes of the fleet and of the clock meanwhile."""

from __future__ import annotations

import pytest

from headrace.config import parse_fleet, sample_fleet_text
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.history import KEPT, WINDOW_S, History, realized, take
from headrace.gateway import Crew, Shown
from headrace.gateway.counters import Counters
from headrace.gateway.crew import Page
from headrace.policy import EngineView

IN_H100 = '[[pools.h100.backends]]\nname = "h100-2"'
IN_CEREBRAS = '[[pools.cerebras.backends]]\nname = "h100-2"'


def shown(**completed: int) -> Shown:
    """What a gateway shows that has completed so many attempts of 100 and 10 tokens on each backend."""
    counters = Counters(1000)
    for name, count in completed.items():
        backend = name.replace("_", "-")
        counters.know_backends((backend,))
        counters.used[backend].attempts["completed"] = count
        counters.used[backend].input_tokens, counters.used[backend].output_tokens = 100 * count, 10 * count
    view = EngineView(0.0, "prices", 0, 0, 0.0, [], [])
    return Shown(Crew(), Page(1, counters.snapshot(), view, 0, 0, 0))


def facts(text: str = "") -> FleetFacts:
    return FleetFacts(parse_fleet(text or sample_fleet_text(), "sample"))


def test_what_a_backend_did_stays_with_the_pool_that_it_was_in() -> None:
    before = facts()
    after = facts(sample_fleet_text().replace(IN_H100, IN_CEREBRAS))
    assert (before.pool_of("h100-2"), after.pool_of("h100-2")) == ("h100", "cerebras")
    history = History()
    history.keep(take(shown(h100_1=1000, h100_2=1000), 0.0, 0.0), before)
    history.keep(take(shown(h100_1=1010, h100_2=1010), 5.0, 5.0), before)
    history.keep(take(shown(h100_1=1020, h100_2=1010), 10.0, 10.0), after)
    now = history.sample(take(shown(h100_1=1030, h100_2=1020), 12.0, 12.0), after)
    window_s, used = history.window(now)
    assert window_s == 12.0
    assert {pool: each[0] for pool, each in used.items()} == {"h100": 40, "cerebras": 10}
    found = realized(after, "fast", used)
    assert found is not None
    assert 0.0 < found < 1.0
    drawn = [each.shares["fast"] for each in history.points(after)]
    assert drawn == [None, 0.0, 0.0]


def test_samples_come_and_go_by_the_monotonic_clock_whatever_the_wall_clock_does() -> None:
    history, known = History(), facts()
    for number in range(KEPT + 10):
        now_s = 5.0 * number
        assert history.due_s <= now_s
        wall_unix_s = 1e9 + now_s - (7200.0 if number >= KEPT - 20 else 0.0)
        history.keep(take(shown(h100_1=number), now_s, wall_unix_s), known)
        assert history.due_s > now_s + 4.0
    now_s = history.samples[-1].at_s + 1.0
    window_s, used = history.window(history.sample(take(shown(h100_1=KEPT + 10), now_s, 0.0), known))
    assert WINDOW_S < window_s <= WINDOW_S + 6.0
    assert used["h100"][0] == pytest.approx(window_s / 5.0, abs=1.0)
    assert len(history.points(known)) == KEPT
