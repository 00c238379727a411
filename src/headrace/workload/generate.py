"""Generated traffic: workload classes with arrivals and sizes like those of public traces, where no trace is at hand.

Two shapes of traffic. *Single requests* have an arrival process and two length distributions. *Agent sessions* send one
request after another, each with all that came before in its input. Both are open loop (closed-loop agents with
sub-agents: `workload.agents`): an agent's next turn is timed by
the answer time of the system that the fit comes from, not by how fast this fleet answers. That keeps arrivals the same
whatever is measured, and is a simplification: faster answers would bring the next turn earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from itertools import count
from math import log
from operator import attrgetter
from random import Random
from typing import Protocol

from headrace.errors import ConfigError, Fault
from headrace.rng import stream
from headrace.workload.arrivals import ArrivalProcess, OnOffGaps, WanderingPoisson
from headrace.workload.lengths import LogNormal, LogNormalMixture
from headrace.workload.request import Request


class Traffic(Protocol):
    """One kind of traffic."""

    def requests(self, workload_class: str, arrivals: Random, lengths: Random, scale: float) -> Iterator[Request]:
        """Requests in order of arrival, without end; `scale` multiplies the mean rate."""


@dataclass(frozen=True, slots=True)
class SingleRequests:
    """Requests that know nothing of each other; input and output lengths are independent."""

    arrivals: ArrivalProcess
    input_tokens: LogNormalMixture
    output_tokens: LogNormalMixture

    def requests(self, workload_class: str, arrivals: Random, lengths: Random, scale: float) -> Iterator[Request]:
        """Requests in order of arrival, without end."""
        for at_s in self.arrivals.times_s(arrivals, scale):
            input_tokens = self.input_tokens.draw_tokens(lengths)
            yield Request(at_s, workload_class, input_tokens, self.output_tokens.draw_tokens(lengths))


@dataclass(frozen=True, slots=True)
class AgentSessions:
    """Sessions of an agent: each turn sends the whole context, which grows by what the turn before brought.

    Sessions start by a Poisson process that began `warm_up_s` before time 0, so time 0 finds sessions of every age. A
    context that would pass `max_context_tokens` is compacted to the size of a fresh one.

    Attributes:
        mean_turns: mean number of requests of a session; exponentially distributed.
        first_input_tokens: input of a session's first request.
        growth_mu, growth_between_sigma, growth_within_sigma: log of the tokens that a turn adds: a session has a pace
            of its own (`between`), around which its turns vary (`within`).
        tool_fraction: turns after the first that are tool results; the others come from a person.
        tool_gap_s, user_gap_s: from an answer to the next request.
        answer_s: (fixed, per output token, per input token) seconds that an answer took where this was measured.
    """

    sessions_per_s: float
    mean_turns: float
    first_input_tokens: LogNormalMixture
    growth_mu: float
    growth_between_sigma: float
    growth_within_sigma: float
    output_tokens: LogNormalMixture
    tool_fraction: float
    tool_gap_s: LogNormalMixture
    user_gap_s: LogNormal
    answer_s: tuple[float, float, float]
    max_context_tokens: int = 128_000
    warm_up_s: float = 3600.0

    def requests(self, workload_class: str, arrivals: Random, lengths: Random, scale: float) -> Iterator[Request]:
        """Requests in order of arrival, without end."""
        numbers = count()
        rate = self.sessions_per_s * scale
        next_start_s = arrivals.expovariate(rate) - self.warm_up_s
        turns: list[tuple[float, int, Iterator[tuple[float, int, int]], int, int]] = []
        while True:
            while not turns or next_start_s <= turns[0][0]:
                self._push(turns, next(numbers), self._session(next_start_s, arrivals, lengths))
                next_start_s += arrivals.expovariate(rate)
            at_s, number, session, input_tokens, output_tokens = heappop(turns)
            self._push(turns, number, session)
            if at_s >= 0:
                yield Request(at_s, workload_class, input_tokens, output_tokens)

    @staticmethod
    def _push(
        turns: list[tuple[float, int, Iterator[tuple[float, int, int]], int, int]],
        number: int,
        session: Iterator[tuple[float, int, int]],
    ) -> None:
        """Put a session's next turn on the heap, if it has one; `number` breaks ties."""
        turn = next(session, None)
        if turn is not None:
            heappush(turns, (turn[0], number, session, turn[1], turn[2]))

    def _session(self, at_s: float, arrivals: Random, lengths: Random) -> Iterator[tuple[float, int, int]]:
        """(time, input tokens, output tokens) of one session's turns."""
        fixed_s, per_output_s, per_input_s = self.answer_s
        pace = lengths.gauss(self.growth_mu, self.growth_between_sigma)
        input_tokens = self.fresh_tokens(lengths)
        for _ in range(1 + int(lengths.expovariate(1 / (self.mean_turns - 0.5)))):
            output_tokens = self.output_tokens.draw_tokens(lengths)
            yield at_s, input_tokens, output_tokens
            at_s += fixed_s + per_output_s * output_tokens + per_input_s * input_tokens
            at_s += self.pause_s(arrivals)
            input_tokens += self.growth_tokens(pace, lengths)
            if input_tokens > self.max_context_tokens:
                input_tokens = self.fresh_tokens(lengths)

    def pause_s(self, arrivals: Random) -> float:
        """From an answer to the next request: a tool runs, or a person reads and types."""
        tool = arrivals.random() < self.tool_fraction
        return self.tool_gap_s.draw(arrivals) if tool else self.user_gap_s.draw(arrivals)

    def growth_tokens(self, pace: float, lengths: Random) -> int:
        """What a turn adds to the context, in a session with this pace (the mean of its log)."""
        return max(round(lengths.lognormvariate(pace, self.growth_within_sigma)), 1)

    def fresh_tokens(self, lengths: Random) -> int:
        """The context of a session's first request."""
        return min(self.first_input_tokens.draw_tokens(lengths), self.max_context_tokens)


CODING = SingleRequests(
    arrivals=OnOffGaps(
        gap_s=LogNormalMixture(((0.523, -5.914, 2.588), (0.477, -2.086, 0.621)), high=5.0),
        off_probability=0.0061,
        off_s=LogNormal(3.099, 0.935),
    ),
    input_tokens=LogNormalMixture(((0.321, 5.614, 1.329), (0.679, 7.650, 0.721)), low=1, high=7437),
    output_tokens=LogNormalMixture(
        ((0.214, 2.000, 0.178), (0.492, 2.561, 0.355), (0.294, 3.717, 0.878)), low=6, high=1899
    ),
)
"""Code completion: bursts and silences, long inputs, very short outputs; about 2.6 requests/s at scale 1.

Source: fitted on Azure LLM inference trace 2023, code (github.com/Azure/AzurePublicDataset, CC-BY-4.0), 18:17 to 18:55;
Kolmogorov-Smirnov distance on later, unseen rows 0.036 (input) and 0.030 (output); bounds are the trace's own extremes.
"""

CHAT = SingleRequests(
    arrivals=WanderingPoisson(log_rate_mean=log(5.8), log_rate_sd=0.211, correlation=0.82),
    input_tokens=LogNormalMixture(
        ((0.625, 6.247, 0.939), (0.270, 6.975, 0.057), (0.105, 8.315, 0.05)), low=1, high=14_050
    ),
    output_tokens=LogNormalMixture(
        ((0.441, 4.514, 0.364), (0.297, 4.682, 1.002), (0.262, 6.005, 0.05)), low=1, high=1000
    ),
)
"""Conversation: Poisson with a wandering rate; about 5.9 requests/s at scale 1.

Source: fitted on Azure LLM inference trace 2023, conversation (as for `CODING`); Kolmogorov-Smirnov distance on later
rows 0.089 (input) and 0.147 (output), which is as far as the trace is from itself an hour later.
"""

AGENT = AgentSessions(
    sessions_per_s=0.01,
    mean_turns=62.9,
    first_input_tokens=LogNormalMixture(((0.244, 9.735, 0.272), (0.255, 9.875, 0.068), (0.501, 11.646, 0.886)), low=1),
    growth_mu=6.640,
    growth_between_sigma=0.57,
    growth_within_sigma=1.01,
    output_tokens=LogNormalMixture(
        ((0.313, 4.930, 0.302), (0.332, 5.551, 0.551), (0.356, 6.129, 1.082)), low=1, high=18_195
    ),
    tool_fraction=0.856,
    tool_gap_s=LogNormalMixture(((0.351, 1.629, 0.333), (0.396, 2.378, 0.561), (0.253, 4.009, 1.550)), high=3600.0),
    user_gap_s=LogNormal(4.850, 1.652, high=3600.0),
    answer_s=(1.0, 0.0153, 1.6e-5),
)
"""A coding agent's turns: very long, slowly growing inputs; about 0.5 requests/s at scale 1 (the rate is our choice:
the source has no wall clock). Half of the sessions start fresh, half resume; contexts are held to what a model takes.

Source: fitted on Claude Code sessions v8 (github.com/callanjfox/kv-cache-tester, Apache-2.0), copies and forks of a
session cut to one; Kolmogorov-Smirnov distance on later sessions 0.058 (first input), 0.055 (growth), 0.009 (output),
0.012 (tool gap), 0.050 (user gap). Gaps over an hour are held to one. Every input token is counted: what a prefix cache
would find again is the model server's affair.
"""


@dataclass(frozen=True, slots=True)
class ClassTraffic:
    """The traffic of one workload class; `scale` multiplies its mean rate."""

    workload_class: str
    traffic: Traffic
    scale: float = 1.0


def generate(classes: Sequence[ClassTraffic], duration_s: float, seed: int) -> Iterator[Request]:
    """Requests of all classes in order of arrival, over [0, duration_s).

    A class draws from streams of its own: adding one does not change the others.

    Raises:
        ConfigError: a class appears twice, or a scale is not positive.
    """
    _check(classes)
    streams = (_until(duration_s, _requests(one, seed)) for one in classes)
    return merge(*streams, key=attrgetter("arrival_s"))


def _requests(one: ClassTraffic, seed: int) -> Iterator[Request]:
    arrivals = stream(seed, f"workload.{one.workload_class}.arrivals")
    lengths = stream(seed, f"workload.{one.workload_class}.lengths")
    return one.traffic.requests(one.workload_class, arrivals, lengths, one.scale)


def _until(end_s: float, requests: Iterator[Request]) -> Iterator[Request]:
    for request in requests:
        if request.arrival_s >= end_s:
            return
        yield request


def _check(classes: Sequence[ClassTraffic]) -> None:
    names = [one.workload_class for one in classes]
    faults = [Fault(name, "appears twice; give each class one traffic") for name in names if names.count(name) > 1]
    faults += [
        Fault(one.workload_class, f"scale must be more than 0, got {one.scale}") for one in classes if not one.scale > 0
    ]
    if faults:
        raise ConfigError("workload", faults)
