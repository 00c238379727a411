"""The requests of a group of points: traces or generated traffic, at its load, with its seed.

A trace is one draw of what the day might have been: played as it was, it says nothing about how sure a figure is, and
seeds only vary what a policy draws. With `resample_block_s` every seed plays a *block bootstrap* of it: the trace is
cut into blocks of that length, and as many blocks are drawn with replacement and laid end to end. Within a block
everything stays as it was (bursts, the mix of classes, lengths), so blocks should be longer than what hangs together.
Sessions would be torn by blocks; with `resample_tasks` whole tasks are drawn instead (`traces.redrawn`).

Source: H. R. Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of Statistics 17
(1989); blocks here do not overlap (Carlstein 1986).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from headrace import rng
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.study.sweep.grid import TrafficSettings
from headrace.traces import open_traces
from headrace.workload import Request, generate_named


def open_traffic(traffic: TrafficSettings, fleet: Fleet, load: float, seed: int) -> Iterator[Request]:
    """The requests, in order of arrival; the same arguments give the same requests.

    Args:
        load: multiplies the rate of arrivals; lengths stay.

    Raises:
        ConfigError: an option is out of range, or the fleet has no class that traffic can be generated for.
        TraceError: a trace cannot be read.
    """
    if not traffic.traces:
        return generate_named(fleet.classes, traffic.generate_s or 0.0, seed, load)
    block_s = traffic.resample_block_s
    if block_s is None:
        return open_traces(dict(traffic.traces), traffic.options(load, seed))
    return faster(resampled(open_traces(dict(traffic.traces), traffic.options(1.0, seed)), block_s, seed), load)


def resampled(requests: Iterable[Request], block_s: float, seed: int) -> Iterator[Request]:
    """Blocks of the requests, drawn with replacement, end to end; as many whole blocks as there are.

    Holds all requests in memory. A last block that the requests do not fill is left out.

    Raises:
        ConfigError: there are fewer than two whole blocks, or a request belongs to a session.
    """
    blocks: list[list[Request]] = []
    for request in requests:
        if request.turn is not None:
            said = "traces with sessions cannot be cut into blocks: a session would be torn; set resample_tasks instead"
            raise ConfigError("traffic", [Fault("traffic.resample_block_s", said)])
        while request.arrival_s >= len(blocks) * block_s:
            blocks.append([])
        blocks[-1].append(request)
    whole = len(blocks) - 1
    if whole < 2:
        said = f"{block_s:g} s leaves {max(whole, 0)} whole blocks of these traces; make it shorter"
        raise ConfigError("traffic", [Fault("traffic.resample_block_s", said)])
    draw = rng.stream(seed, "study.blocks")
    latest_s = 0.0
    for index in range(whole):
        drawn = draw.randrange(whole)
        for request in blocks[drawn]:
            latest_s = max(latest_s, request.arrival_s + (index - drawn) * block_s)  # rounding must not turn time back
            yield replace(request, arrival_s=latest_s)


def faster(requests: Iterable[Request], load: float) -> Iterator[Request]:
    """The same requests, arriving `load` times as fast."""
    for request in requests:
        yield request if load == 1.0 else replace(request, arrival_s=request.arrival_s / load)


def watched(requests: Iterable[Request], see: Callable[[Request], None]) -> Iterator[Request]:
    """The same requests, each shown to `see` as it passes."""
    for request in requests:
        see(request)
        yield request
