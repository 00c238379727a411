"""Coding sessions of Claude Code: one JSON file a session, in an archive or a folder; sub-agents inside.

No wall clock: sessions start by a Poisson process of the caller's rate, in the order of the archive. Within a session:

- `t` is seconds from its start, in whole seconds; `api_time` (absent on some streamed rows) is the answer's time;
- `think_time` comes *before* its request: the tool ran, or a person read. Where sub-agents ran in between, what remains
  after they had ended is the pause;
- for a sub-agent that completed, `t` is when it *finished* and its start is `t - duration_ms / 1000`; for one that was
  launched and left alone (`async_launched`), `t` is its start and nobody waits. Times inside count from its own start;
- `hash_ids` name full blocks only: `floor(in / 64)`. Scope `local`: ids mean something within this session only;
- the older release records many turns twice (a streamed row, then another with the same input): one is dropped;
- a request with `out: 0` is kept as it is.

Source: github.com/callanjfox/kv-cache-tester (Apache-2.0).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

import msgspec

from headrace.errors import TraceError
from headrace.traces._lines import tokens
from headrace.traces.source import Head
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Prefix, Request, Task, Turn, in_common

SHOWS = '{"id": ..., "hash_id_scope": ..., "requests": [{"t": ..., "in": ..., "out": ...}]}, one file a session'
MAX_PAUSE_S = 30 * 86400.0  # a pause longer than this is a slip, or the session never ends
LEFT_ALONE = "async_launched"
_SCOPE_BITS = 32


class _Row(msgspec.Struct, gc=False):
    """A request, or a sub-agent with requests of its own."""

    t: float
    type: str
    input_tokens: int = msgspec.field(default=0, name="in")
    output_tokens: int = msgspec.field(default=0, name="out")
    hash_ids: list[int] = []
    api_time: float | None = None
    think_time: float | None = None
    agent_id: str = ""
    duration_ms: float | None = None
    status: str = ""
    requests: list[_Row] = []


class _File(msgspec.Struct):
    id: str
    block_size: int
    hash_id_scope: str
    requests: list[_Row]


class _Frame(NamedTuple):
    """What the rows of one session have in common."""

    task: str
    session: str
    parent: tuple[str, int] | None
    detached: bool


class _Planned(NamedTuple):
    """A request to come. Its blocks are the first `kept` of the turn before and `new` ones: contexts only grow."""

    at_s: float
    input_tokens: int
    output_tokens: int
    turn: Turn
    kept: int
    new: tuple[int, ...]


class ClaudeCodeTrace(TraceFile):
    """An archive or folder of sessions, or one session."""

    format = "claude-code"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """One task a session file."""
        decoder = msgspec.json.Decoder(_File)
        starts_s = self.starts_s("sessions")
        seen: set[str] = set()
        for member in self.source.members():
            try:
                file = decoder.decode(member.read())
                _check(file, seen)
            except (msgspec.MsgspecError, ValueError) as fault:
                self.settings.bad_lines.note(TraceError(member.where, 0, f"is not a whole session: {fault}"))
                continue
            name = f"{self.workload_class}/{file.id}"
            yield Task(next(starts_s), name, _Turns(_plan(file, name), file.block_size, self.workload_class))
            del file  # its ids are forty times what the plan holds


def recognises(head: Head) -> bool:
    """A JSON object with a scope of ids and requests."""
    return head.start.lstrip().startswith(b"{") and b'"hash_id_scope"' in head.start and b'"requests"' in head.start


def _plan(file: _File, task: str) -> list[_Planned]:
    """The whole task in order of earliest times, the last request marked."""
    scope = 0 if file.hash_id_scope == "global" else zlib.crc32(file.id.encode()) << _SCOPE_BITS
    plan = sorted(_session(_Frame(task, task, None, False), file.requests, 0.0, 0.0, scope), key=lambda one: one.at_s)
    plan[-1] = plan[-1]._replace(turn=replace(plan[-1].turn, ends_task=True))
    return plan


@dataclass(frozen=True, slots=True)
class _Turns:
    """The requests of a plan, as often as they are asked for: a plan is small, and their blocks are not."""

    plan: list[_Planned]
    block_tokens: int
    workload_class: str

    def __iter__(self) -> Iterator[Request]:
        blocks: dict[str, tuple[int, ...]] = {}
        for one in self.plan:
            session = one.turn.session
            mine = blocks[session] = blocks.get(session, ())[: one.kept] + one.new
            prefix = Prefix(self.block_tokens, mine) if mine else None
            lengths = one.input_tokens, one.output_tokens
            yield Request(one.at_s, self.workload_class, *lengths, turn=one.turn, prefix=prefix)


def _session(
    frame: _Frame, rows: list[_Row], earliest_s: float, first_pause_s: float, scope: int
) -> Iterator[_Planned]:
    """The turns of a session, each followed by all of the sub-agents that it starts.

    Args:
        earliest_s: of the first turn. What comes later is due a pause after what it waits for, answers taking no time.
    """
    turns = _without_doubles([row for row in rows if row.type != "subagent"])
    agents = [row for row in rows if row.type == "subagent" and row.requests]
    end_s = 0.0  # recorded end of what the next turn waits for
    before: list[int] = []
    for number, row in enumerate(turns):
        pause_s = max(row.t - end_s, 0.0) if number else first_pause_s
        earliest_s += pause_s if number else 0.0
        turn = Turn(*frame[:2], number, pause_s, frame.parent, frame.detached, ends_session=number == len(turns) - 1)
        kept = in_common(before, row.hash_ids)
        new = tuple(scope | block for block in row.hash_ids[kept:])
        yield _Planned(earliest_s, row.input_tokens, row.output_tokens, turn, kept, new)
        before, answered_s = row.hash_ids, row.t + (row.api_time or 0.0)
        end_s, starts_s = answered_s, earliest_s
        while agents and (number == len(turns) - 1 or _start_s(agents[0]) < turns[number + 1].t):
            agent = agents.pop(0)
            child = _Frame(
                frame.task, f"{frame.session}/{agent.agent_id}", (frame.session, number), agent.status == LEFT_ALONE
            )
            wait_s = max(_start_s(agent) - answered_s, 0.0)
            for one in _session(child, agent.requests, starts_s + wait_s, wait_s, scope):
                yield one
                if not child.detached:
                    earliest_s = max(earliest_s, one.at_s)
            end_s = end_s if child.detached else max(end_s, agent.t)


def _start_s(agent: _Row) -> float:
    return agent.t if agent.status == LEFT_ALONE else agent.t - (agent.duration_ms or 0.0) / 1000.0


def _without_doubles(rows: list[_Row]) -> list[_Row]:
    return [row for last, row in pairwise((None, *rows)) if row is not None and not _doubles(last, row)]


def _doubles(last: _Row | None, row: _Row) -> bool:
    if last is None or (last.type, row.type) != ("s", "n"):
        return False
    return (last.input_tokens, last.hash_ids) == (row.input_tokens, row.hash_ids)


def _check(file: _File, seen: set[str]) -> None:
    """Raises ValueError: something in the session cannot be."""
    if file.id in seen:
        raise ValueError(f"session {file.id} is in this trace already; drop one of the two files")
    seen.add(file.id)
    if not any(row.type != "subagent" for row in file.requests):
        raise ValueError(f"session {file.id} has no first turn; leave the file out")
    if file.block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {file.block_size}")
    _check_rows(file.requests, file.block_size, file.id)


def _check_rows(rows: list[_Row], block_size: int, where: str) -> None:
    latest_s = 0.0
    for index, row in enumerate(rows):
        place = f"{where}, request {index}"
        if not (isfinite(row.t) and isfinite(row.api_time or 0.0) and isfinite(row.duration_ms or 0.0)):
            raise ValueError(f"{place}: t, api_time and duration_ms must be finite")
        if row.type == "subagent":
            _check_rows(row.requests, block_size, f"{place}, {row.agent_id}")
            continue
        tokens(f"{place}: in", row.input_tokens)
        tokens(f"{place}: out", row.output_tokens, 0)
        if not 0 <= row.t - latest_s <= MAX_PAUSE_S:
            raise ValueError(
                f"{place}: t is {row.t} after {latest_s}: it must not go back, nor leap over {MAX_PAUSE_S:.0f} s"
            )
        if len(row.hash_ids) * block_size > row.input_tokens:
            raise ValueError(
                f"{place}: {len(row.hash_ids)} blocks of {block_size} are more than {row.input_tokens} tokens"
            )
        latest_s = row.t
