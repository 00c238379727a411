"""A request as traces and generators describe it: when it comes, what it asks for, and how long its answer is.

A request may be a *turn* of a session, and a session may have been started by a turn of another one (a sub-agent): all
sessions that hang together are one *task*. Sessions are closed loop: the user, or the tool, waits for the answer first.

    start(turn) = end of what it waits for + pause_s
    what it waits for: the turn before it, and the sessions that hang on turns before it, unless they are detached;
                       for the first turn of a child session, the turn of the parent that started it

So when a turn comes depends on how fast the one before it was answered, and no trace can hold that. What a stream of
requests holds, in `arrival_s`, is the *earliest* time: the task's start plus the pauses before the turn, as if every
answer took no time. By induction a turn never starts before its `arrival_s`. A stream in order of `arrival_s` can
therefore be read as virtual time goes on, a driver holds no more than the turns of tasks that are under way, and the
same flat stream serves single requests and trees of agents. `workload.sessions` keeps a driver's turns back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the input begins with, as block ids: two inputs are the same up to the first block that differs.

    Attributes:
        block_tokens: tokens of a block; the last one may be partial, or absent where the source counts full ones only.
        blocks: ids, unique within one trace; a `range` where they need no memory.
    """

    block_tokens: int
    blocks: Sequence[int]


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's place in its session.

    Attributes:
        task: id of all sessions that hang together.
        session: id of the session within the workload; the task's own where it has no parent.
        number: 0 for the session's first turn.
        pause_s: seconds from the end of what it waits for to its start: the tool ran, the user thought. None: not
            known; it comes at its recorded `arrival_s`, or when what it waits for has ended if that is later.
        parent: (session, turn number) that started this session; None for the task's first session.
        detached: nobody waits for this session, only the task.
        ends_session: no turn of this session follows.
        ends_task: no request of this task follows in the stream.
    """

    task: str
    session: str
    number: int
    pause_s: float | None = 0.0
    parent: tuple[str, int] | None = None
    detached: bool = False
    ends_session: bool = False
    ends_task: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One client call of a workload.

    `output_tokens` is what the model will produce: model servers and reports may read it, decisions may not.

    Attributes:
        arrival_s: seconds after the start of the workload; for a turn that waits, the earliest time it can come.
        workload_class: name of the class it belongs to.
        input_tokens: tokens sent to the model, at least 1.
        output_tokens: tokens that the model will produce, at least 0.
        model: the model name that the client asks for; None means the fleet's only model.
        tenant: who is billed and limited.
        max_output_tokens: the client's own ceiling, when it sends one.
        turn: its place in a session; None: it waits for nothing and nothing waits for it.
        prefix: what its input begins with, where the source says so.
    """

    arrival_s: float
    workload_class: str
    input_tokens: int
    output_tokens: int
    model: str | None = None
    tenant: str = "default"
    max_output_tokens: int | None = None
    turn: Turn | None = None
    prefix: Prefix | None = None


def in_common(before: Sequence[int], now: Sequence[int]) -> int:
    """How many blocks two inputs of one session begin with in common; slices compare at the speed of C."""
    low, high = 0, min(len(before), len(now))
    if before[:high] == now[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if before[low:middle] == now[low:middle] else (low, middle)
    return low
