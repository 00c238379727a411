"""Generated agent tasks: closed-loop sessions whose context grows, and sub-agents that a parent waits for.

Each turn sends all that came before and what its tool or user brought, so consecutive inputs share a prefix that grows.
Now and then a turn starts sub-agents, side by side, each a session of its own with a fresh context; the parent's next
turn waits for them. What is not here is when a turn comes: that depends on how fast the fleet answers
(`workload.request`), which is the point of asking.

Sizes and pauses are those of `AgentSessions`, which times the same turns open loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from random import Random

from headrace.workload.generate import AGENT, AgentSessions
from headrace.workload.request import Prefix, Request, Turn
from headrace.workload.task import Task, flatten

BLOCK_TOKENS = 64
_ID_BITS = 32


@dataclass(frozen=True, slots=True)
class AgentTasks:
    """Agents with sub-agents. Tasks start from time 0 on: the first minutes know no old sessions.

    Attributes:
        agent: sizes, growth and pauses of a session, of a sub-agent too.
        sub_agent_fraction: turns, the last one excepted, that start sub-agents.
        most_sub_agents: as many at once, at most; evenly drawn.
        sub_agent_turns: (fewest, most) turns of a sub-agent; evenly drawn.
    """

    agent: AgentSessions
    sub_agent_fraction: float
    most_sub_agents: int
    sub_agent_turns: tuple[int, int]

    def requests(self, workload_class: str, arrivals: Random, lengths: Random, scale: float) -> Iterator[Request]:
        """Requests in order of their earliest arrival, without end."""
        return flatten(self._tasks(workload_class, arrivals, lengths, scale))

    def _tasks(self, workload_class: str, arrivals: Random, lengths: Random, scale: float) -> Iterator[Task]:
        start_s = 0.0
        contexts = count()
        for number in count():
            start_s += arrivals.expovariate(self.agent.sessions_per_s * scale)
            name = f"{workload_class}/{number}"
            writer = _Writer(self, workload_class, name, contexts, arrivals, lengths)
            yield Task(start_s, name, writer.task())


@dataclass(frozen=True, slots=True)
class _Writer:
    """Draws one task. `contexts` numbers contexts, so that their blocks differ."""

    law: AgentTasks
    workload_class: str
    name: str
    contexts: Iterator[int]
    arrivals: Random
    lengths: Random

    def task(self) -> list[Request]:
        """All requests in order of their earliest time, counted from the task's start; the last one is marked."""
        turns = 1 + int(self.lengths.expovariate(1 / (self.law.agent.mean_turns - 0.5)))
        requests = sorted(self._session(self.name, None, turns, 0.0), key=lambda one: one.arrival_s)
        last = requests[-1]
        if last.turn is not None:
            requests[-1] = replace(last, turn=replace(last.turn, ends_task=True))
        return requests

    def _session(self, session: str, parent: tuple[str, int] | None, turns: int, at_s: float) -> Iterator[Request]:
        """A session's turns, each followed by the sub-agents that it starts."""
        agent = self.law.agent
        pace = self.lengths.gauss(agent.growth_mu, agent.growth_between_sigma)
        input_tokens, base = agent.fresh_tokens(self.lengths), self._context()
        for number in range(turns):
            pause_s = agent.pause_s(self.arrivals) if number else 0.0
            at_s += pause_s
            turn = Turn(self.name, session, number, pause_s, parent, ends_session=number == turns - 1)
            prefix = Prefix(BLOCK_TOKENS, range(base, base + input_tokens // BLOCK_TOKENS))
            sizes = input_tokens, agent.output_tokens.draw_tokens(self.lengths)
            yield Request(at_s, self.workload_class, *sizes, turn=turn, prefix=prefix)
            if parent is None and number < turns - 1:
                for one in self._sub_agents(session, number, at_s):
                    yield one
                    at_s = max(at_s, one.arrival_s)
            input_tokens += agent.growth_tokens(pace, self.lengths)
            if input_tokens > agent.max_context_tokens:
                input_tokens, base = agent.fresh_tokens(self.lengths), self._context()

    def _sub_agents(self, session: str, number: int, at_s: float) -> Iterator[Request]:
        if self.arrivals.random() >= self.law.sub_agent_fraction:
            return
        for index in range(self.arrivals.randint(1, self.law.most_sub_agents)):
            turns = self.arrivals.randint(*self.law.sub_agent_turns)
            yield from self._session(f"{session}/{number}.{index}", (session, number), turns, at_s)

    def _context(self) -> int:
        return next(self.contexts) << _ID_BITS


AGENT_TASKS = AgentTasks(AGENT, sub_agent_fraction=0.0008, most_sub_agents=3, sub_agent_turns=(2, 24))
"""Coding agents, closed loop. Source: as `AGENT`; sub-agents: 27 in 33,170 turns of the same sessions, up to three
started at the same moment, 2 to 24 requests each."""
