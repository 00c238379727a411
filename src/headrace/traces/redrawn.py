"""Another day of the same kind: a trace's tasks drawn anew, whole ones, so that seeds say how sure a figure is.

Requests of a session depend on each other, and a task's requests on when the fleet answered the ones before: blocks of
time would tear them. Tasks are what is independent, so tasks are what is drawn:

    start n of the trace  ->  task X(n) at that start,   X(n) evenly from all tasks of the trace, with replacement

Starts stay where the trace has a clock, and are dealt by the seed where it has none. A task is never torn, its pauses
stay, and there are as many tasks as before. One that is drawn twice stands for two of its kind, so the second gets
sessions of its own and blocks of its own: two users who work alike do not find each other's prompts in a cache.

Source: B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7 (1979); of clusters in
place of observations: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from headrace import rng
from headrace.traces._lines import BadLines
from headrace.traces.registry import open_trace
from headrace.traces.trace import TraceFile, TraceSettings
from headrace.workload import Item, Prefix, Request, Task, Turn, in_common

_OWN_BLOCKS = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: multiples of it lie far apart
_IDS = (1 << 64) - 1


def redrawn(held: Sequence[Item], starts_s: Iterable[float], seed: int, name: str) -> Iterator[Item]:
    """A task for each start, drawn with replacement.

    Args:
        held: tasks whose requests can be read again and again.
        name: of the trace's class; two traces are drawn independently.
    """
    draw = rng.stream(seed, f"traces.{name}.tasks")
    times = [0] * len(held)
    for start_s in starts_s:
        number = draw.randrange(len(held))
        yield _at(held[number], start_s, times[number])
        times[number] += 1


def redrawn_file(file: TraceFile, t0_ns: int) -> Iterator[Item]:
    """As many tasks as a trace file has, drawn anew by its settings' seed. Raises as `TraceFile.items`."""
    settings, source = file.settings, file.source
    stamp = os.stat(source.path).st_mtime_ns
    rate = settings.rate_per_s
    held = _held(source.name, stamp, file.workload_class, file.format, settings.bad_lines.limit, rate, t0_ns)
    settings.notes += [note for note in held.notes if note not in settings.notes]
    starts_s = file.starts_s("sessions") if held.dealt else map(_start_s, held.items)
    return redrawn(held.items, islice(starts_s, len(held.items)), settings.seed, file.workload_class)


class _Held(NamedTuple):
    """A whole trace in memory; `dealt`: its starts were drawn, and mean nothing."""

    items: tuple[Item, ...]
    dealt: bool
    notes: tuple[str, ...]


@lru_cache(maxsize=4)
def _held(
    path: str, stamp: int, workload_class: str, format: str, bad_lines: int, rate_per_s: float | None, t0_ns: int
) -> _Held:
    """A trace as it is; kept, for a study plays it a hundred times and reading it takes longer than a simulation."""
    settings = TraceSettings(BadLines(bad_lines), rate_per_s)
    items = tuple(_kept(item) for item in open_trace(path, workload_class, format, settings).items(t0_ns))
    return _Held(items, settings.dealt, tuple(settings.notes))


@dataclass(frozen=True, slots=True)
class _Copy:
    """The requests of a task once more; as often as they are asked for."""

    requests: Iterable[Request]
    number: int

    def __iter__(self) -> Iterator[Request]:
        blocks: dict[str, tuple[Sequence[int], tuple[int, ...]]] = {}
        for request in self.requests:
            turn = None if request.turn is None else _turn(request.turn, self.number)
            session = "" if turn is None else turn.session
            prefix = None if request.prefix is None else self._prefix(request.prefix, session, blocks)
            yield replace(request, turn=turn, prefix=prefix)

    def _prefix(self, prefix: Prefix, session: str, before: dict[str, tuple[Sequence[int], tuple[int, ...]]]) -> Prefix:
        """The same blocks under ids of their own; what a session's context had in common is not worked out again."""
        old, mine = before.get(session, ((), ()))
        kept = in_common(old, prefix.blocks)
        shift = self.number * _OWN_BLOCKS
        own = mine[:kept] + tuple([(block + shift) & _IDS for block in prefix.blocks[kept:]])
        before[session] = prefix.blocks, own
        return replace(prefix, blocks=own)


def _kept(item: Item) -> Item:
    """The item, to be read as often as it is drawn."""
    if isinstance(item, Task) and iter(item.requests) is item.requests:
        return item._replace(requests=tuple(item.requests))
    return item


def _at(item: Item, start_s: float, number: int) -> Item:
    """A task, or a request on its own, at a start; `number`: how often it was drawn before."""
    if not isinstance(item, Task):
        (copied,) = _Copy((item,), number) if number else (item,)
        return replace(copied, arrival_s=start_s)
    if not number:
        return item._replace(start_s=start_s)
    return Task(start_s, _again(item.id, number), _Copy(item.requests, number))


def _start_s(item: Item) -> float:
    return item.start_s if isinstance(item, Task) else item.arrival_s


def _turn(turn: Turn, number: int) -> Turn:
    parent = None if turn.parent is None else (_again(turn.parent[0], number), turn.parent[1])
    return replace(turn, task=_again(turn.task, number), session=_again(turn.session, number), parent=parent)


def _again(name: str, number: int) -> str:
    return f"{name}+{number}"
