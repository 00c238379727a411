"""What a sample of traffic over a sample of the fleet can and cannot say, in words for its reader.

Fewer replicas share their load worse: by Erlang's formula a request waits with probability

    C(c, a) = B / (1 - rho (1 - B)),   rho = a / c,   B = B(c, a) = a B(c-1, a) / (c + a B(c-1, a)),   B(0, a) = 1

on c servers offered a erlangs, which falls with c at the same rho. So the waits of a sample are longer than those of
the whole, and its far quantiles rest on fewer requests. Source: Erlang (1917); Kleinrock, Queueing Systems I (1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd

from headrace.fleet import ThinnedPool

JUDGED_LOAD = 0.8
"""The load at which the chance of waiting is compared: busy, and not yet overloaded."""


def waiting_probability(servers: int, load: float) -> float:
    """Erlang's C: the chance that an arrival has to wait. `load` is per server, in (0, 1)."""
    offered = servers * load
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


def sample_notes(fraction: float, pools: Sequence[ThinnedPool]) -> list[str]:
    """What was thinned, what had to be rounded, and what that does to the tail."""
    notes = [f"sample {fraction:g}: whole sessions, the same ones for a seed; and {fraction:g} of every pool"]
    for pool in pools:
        if abs(pool.excess - 1.0) > 1e-9:
            exact = f"{pool.whole} backends x {fraction:g} = {pool.exact:.3g}, taken as {pool.kept}"
            notes.append(f"{pool.name}: {exact}: {pool.excess:.3g} times the capacity it stands for")
    if any(abs(pool.excess - 1.0) > 1e-9 for pool in pools):
        smallest = 1 / reduce(gcd, (pool.whole for pool in pools))
        advice = f"--sample {smallest:g} or a multiple of it" if smallest < 1 else "no smaller sample of this fleet"
        notes.append(f"queues and shares are those of another mix then; {advice} keeps every pool's proportion")
    largest = max(pools, key=lambda pool: pool.whole)
    if largest.kept < largest.whole:
        whole, kept = (waiting_probability(count, JUDGED_LOAD) for count in (largest.whole, largest.kept))
        notes.append(
            f"the tail is pessimistic where nothing was rounded up: at {JUDGED_LOAD:.0%} load a request waits with "
            f"probability {kept:.2f} with {largest.kept} in the pool and {whole:.2f} with {largest.whole} (Erlang C)"
        )
    return notes


def tail_note(requests: int) -> str:
    """How much the far quantiles of a sample rest on."""
    return f"p99 rests on the slowest {max(requests // 100, 1):,} of {requests:,} sampled requests"
