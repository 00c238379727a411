"""Each policy picks what it says, and a picker that does not behave is found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE, Chaos, small_fleet

from headrace import rng
from headrace.errors import InvariantError
from headrace.policy import (
    POLICIES,
    PRICES,
    Arrived,
    Asking,
    Candidate,
    ClientGone,
    Dispatch,
    Finished,
    Picker,
    Policy,
    PolicyEngine,
)
from headrace.policy.backend_states import backend_states
from headrace.policy.choice import Chooser
from headrace.policy.pricing import BackendState
from headrace.policy.routing import Candidates
from headrace.policy.state import RequestState

A_FEW = settings(max_examples=25, deadline=None)
CHAT = SAMPLE.classes["chat"]


def asking(input_tokens: int = 1000, output_tokens: float = 200.0) -> RequestState:
    return RequestState(1, CHAT, "default", input_tokens, output_tokens, Candidates(()), (), True, 0.0)


def loaded(seed: int = 0) -> tuple[BackendState, ...]:
    """The sample fleet's backends under random load."""
    random = Random(seed)
    backends = backend_states(SAMPLE)
    for backend in backends:
        for _ in range(random.randint(0, 40)):
            backend.took(backend.prefill_s(500), 700.0, 0.0)
    return backends


def picks(name: str, free: Sequence[BackendState], count: int = 1, request: RequestState | None = None) -> list[str]:
    maker = POLICIES[name].maker
    assert maker is not None
    picker = maker(SAMPLE, rng.stream(0, "policy"))
    asked = request or asking()
    return [picker.pick(0.0, asked, tuple(free)).name for _ in range(count)]


def test_round_robin_takes_each_in_turn_and_skips_what_is_not_free() -> None:
    backends = backend_states(SAMPLE)
    names = [backend.name for backend in backends]
    assert picks("round_robin", backends, 2 * len(names)) == names + names
    assert picks("round_robin", backends[2:4], 3) == [names[2], names[3], names[2]]


@A_FEW
@given(st.integers(0, 100), st.integers(1, 20_000), st.integers(1, 2000))
def test_each_extreme_is_the_extreme(seed: int, input_tokens: int, output_tokens: int) -> None:
    backends, request = loaded(seed), asking(input_tokens, float(output_tokens))
    size = (input_tokens, float(output_tokens))

    def e2e_s(backend: BackendState) -> float:
        ttft_s, tpot_s = backend.latency(*size)
        return ttft_s + (output_tokens - 1) * tpot_s

    measures: dict[str, Callable[[BackendState], float]] = {
        "least_in_flight": lambda backend: backend.in_flight,
        "latency": e2e_s,
        "cheapest": lambda backend: backend.cost_usd(*size),
        "fastest": lambda backend: backend.alone_s(*size),
    }
    by_name = {backend.name: backend for backend in backends}
    for name, measure in measures.items():
        (picked,) = picks(name, backends, request=request)
        assert measure(by_name[picked]) == min(map(measure, backends)), name


def test_the_fastest_stays_the_fastest_under_load_and_the_lowest_latency_does_not() -> None:
    backends = backend_states(SAMPLE)
    (fastest,) = picks("fastest", backends)
    assert picks("latency", backends) == [fastest]
    busy = next(backend for backend in backends if backend.name == fastest)
    for _ in range(busy.limit - 1):
        busy.took(busy.prefill_s(5000), 5200.0, 0.0)
    assert picks("fastest", backends) == [fastest]
    assert picks("latency", backends) != [fastest]


@A_FEW
@given(st.integers(0, 100))
def test_of_two_choices_the_less_loaded_is_taken(seed: int) -> None:
    """So the most loaded of all is never picked where loads differ, and every other one is at some time."""
    backends = loaded(seed)
    most = max(backend.in_flight for backend in backends)
    alone = [backend.name for backend in backends if backend.in_flight == most]
    found = set(picks("power_of_two", backends, 400))
    if len(alone) == 1:
        assert found == {backend.name for backend in backends} - set(alone)
    assert picks("power_of_two", backends[:1]) == [backends[0].name]


def test_a_static_weight_sends_its_part_whatever_the_request() -> None:
    backends = backend_states(SAMPLE)
    share = SAMPLE.steered_share()
    assert share is not None
    inside = {backend.name for backend in backends if backend.pool in share.pools}
    found = picks("static", backends, 4000)
    assert sum(name in inside for name in found) / len(found) == pytest.approx(share.target, abs=0.015)
    assert set(picks("static", [b for b in backends if b.name not in inside], 100)).isdisjoint(inside)


@A_FEW
@given(st.integers(0, 100), st.integers(1, 200_000), st.integers(1, 5000))
def test_a_score_asked_for_is_the_score_that_prices_compare(seed: int, input_tokens: int, output_tokens: int) -> None:
    backends = loaded(seed)
    request = asking(input_tokens, float(output_tokens))
    for backend in backends:
        request.candidates = Candidates((backend,))
        choice = Chooser(SAMPLE, backends, ()).choose(0.0, request) if backend.free(0.0) else None
        if choice is not None:
            scored = backend.score_usd(input_tokens, float(output_tokens), CHAT.value_of_time_usd_per_s)
            assert choice[1] == pytest.approx(scored, rel=1e-12)


class Watching(Picker):
    """Picks at random, and notes what it is shown and told."""

    def __init__(self, fleet: object, rng: Random) -> None:
        self.rng = rng
        self.live: list[tuple[int, str]] = []

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        assert free
        for each in free:
            assert isinstance(each, BackendState)
            assert each.up(now_s)
            assert each.in_flight < each.limit
        return self.rng.choice(free)

    def dispatched(self, now_s: float, request: Asking, backend: Candidate) -> None:
        self.live.append((request.request_id, backend.name))

    def ended(self, now_s: float, request: Asking, backend: Candidate, completed: bool) -> None:
        self.live.remove((request.request_id, backend.name))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), max_in_flight=st.integers(1, 3))
def test_a_picker_sees_only_what_may_be_picked_and_is_told_of_every_attempt(seed: int, max_in_flight: int) -> None:
    made: list[Watching] = []

    def maker(fleet: object, rng: Random) -> Picker:
        made.append(Watching(fleet, rng))
        return made[-1]

    chaos = Chaos(seed, max_in_flight, Policy("mine", "", maker))
    for _ in range(150):
        chaos.step()
        assert sorted(made[0].live) == sorted(chaos.live.values())
    for request_id in range(1, chaos.arrived + 1):
        chaos.send(ClientGone(request_id))
    assert made[0].live == []


class Raising(Watching):
    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        raise KeyError("weights")


class Straying(Watching):
    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        return backend_states(SAMPLE)[0]  # equal to a candidate, but none of this engine


class Forgetful(Watching):
    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        return None  # type: ignore[return-value]


class RaisingLate(Watching):
    def ended(self, now_s: float, request: Asking, backend: Candidate, completed: bool) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (Raising, "KeyError: 'weights'"),
        (Straying, "which is not free"),
        (Forgetful, "picked None"),
        (RaisingLate, "Zero"),
    ],
)
def test_a_picker_that_does_not_behave_is_named(maker: type[Watching], said: str) -> None:
    engine = PolicyEngine(SAMPLE, rng.stream(0, "policy"), Policy("mine", "", maker, plug_in="acme, acme:Mine"))
    with pytest.raises(InvariantError) as raised:  # noqa: PT012 - either event may be the one
        (dispatch, *_) = engine.handle(0.0, Arrived(1, "chat", 100))
        assert isinstance(dispatch, Dispatch)
        engine.handle(0.1, Finished(dispatch.attempt_id, 100, 10))
    assert "policy 'mine' (plug-in acme, acme:Mine)" in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize("maker", [lambda fleet, rng: object(), lambda fleet: None])
def test_a_maker_that_makes_no_picker_is_named(maker: Callable[..., Picker]) -> None:
    with pytest.raises(InvariantError, match="policy 'mine'"):
        PolicyEngine(SAMPLE, rng.stream(0, "policy"), Policy("mine", "", maker))


def test_only_policies_of_chance_draw_and_only_from_their_stream() -> None:
    class Counting(Random):
        draws = 0

        def getrandbits(self, k: int, /) -> int:
            self.draws += 1
            return super().getrandbits(k)

        def random(self) -> float:
            self.draws += 1
            return super().random()

    drawing = set()
    for name, policy in POLICIES.items():
        chance = Counting(0)
        engine = PolicyEngine(small_fleet(3), chance, policy)
        for request_id in range(20):
            engine.handle(0.0, Arrived(request_id, "chat", 100))
        if chance.draws:
            drawing.add(name)
    assert drawing == {"static", "power_of_two"}


def test_a_policy_is_shown_by_name_and_only_prices_steer() -> None:
    for name, policy in POLICIES.items():
        view = PolicyEngine(SAMPLE, rng.stream(0, "policy"), policy).view()
        assert view.policy == name
        assert any(share.steered for share in view.shares) is (policy is PRICES)
