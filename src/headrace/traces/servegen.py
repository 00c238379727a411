"""ServeGen: not requests but what each client of a service did: its rate and law of gaps in every 10-minute window, and
the distribution of its lengths every few hours. Requests are drawn from that, client by client, and laid side by side.

A window without a law has no traffic. The rate is the window's count over its length, so the count is known: that many
requests are placed in the window, with gaps of its law and shape, scaled to fill it. (Drawn from the published scale
until the window is full, a bursty client would send (CV^2 - 1) / 2 requests too many in each.) Lengths are those of the
newest distribution at or before the window that is not empty. Clients without any are left out, and a note says how
much of the traffic that is. Images count as input: text tokens + images x tokens per image. A path names the service:
`FILE#language/m-small`. Source: github.com/alibaba/ServeGen (Apache-2.0; arXiv 2505.09999).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import accumulate
from operator import attrgetter
from random import Random
from typing import NamedTuple

import msgspec

from headrace import rng
from headrace.errors import TraceError
from headrace.traces._lines import MAX_TOKENS, Clock, good_rows, seconds
from headrace.traces.source import Head, Member
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request

SHOWS = "NAME/chunk-N-trace.csv and NAME/chunk-N-dataset.json in an archive or folder"
WINDOW_S = 600.0
_TRACE, _LENGTHS = "-trace.csv", "-dataset.json"
_MARK = "chunk-"


class _Window(NamedTuple):
    start_s: float
    requests: int
    gap: Callable[[Random], float]


class _Distribution(NamedTuple):
    """Values with the running sums of their probabilities."""

    values: list[float]
    sums: list[float]

    def draw(self, random: Random) -> float:
        return self.values[min(bisect_left(self.sums, random.random() * self.sums[-1]), len(self.values) - 1)]


@dataclass(slots=True)
class _Client:
    windows: list[_Window] = field(default_factory=list)
    lengths: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    cache: dict[float, dict[str, _Distribution]] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many it sends."""
        return sum(window.requests for window in self.windows)


class ServeGenTrace(TraceFile):
    """The clients of one service."""

    format = "servegen"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """Requests of all clients in order of time. Windows and distributions are held; requests are not."""
        clients = self._clients()
        silent = sum(client.requests for client in clients.values() if not client.lengths)
        whole = sum(client.requests for client in clients.values())
        if silent:
            share = f"{silent / whole:.0%} of the requests" if whole else "no requests"
            self.settings.note(f"{self.source.name}: clients without lengths are left out, {share}")
        streams = (self._requests(name, client) for name, client in sorted(clients.items()) if client.lengths)
        yield from merge(*streams, key=attrgetter("arrival_s"))

    def _clients(self) -> dict[str, _Client]:
        clients: dict[str, _Client] = {}
        services: set[str] = set()
        for member in self.source.members():
            service, mark, file = member.name.rpartition(_MARK)
            kind = next((kind for kind in (_TRACE, _LENGTHS) if file.endswith(kind)), None)
            if not mark or kind is None:
                continue
            services.add(service)
            if len(services) > 1:
                continue
            client = clients.setdefault(member.name.removesuffix(kind), _Client())
            if kind == _TRACE:
                windows = good_rows(member, _WindowParser(), self.settings.bad_lines)
                client.windows = [window for window in windows if window is not None]
            else:
                client.lengths = _lengths(member)
        if len(services) != 1:
            known = ", ".join(f"{self.source.path}#{name.rstrip('/')}" for name in sorted(services)) or "none"
            raise TraceError(self.source.name, 0, f"name one service of this archive: {known}")
        return clients

    def _requests(self, name: str, client: _Client) -> Iterator[Request]:
        random = rng.stream(self.settings.seed, f"traces.{self.workload_class}.{name}")
        tenant = name.rpartition("/")[2]
        for window in client.windows:
            lengths = _lengths_at(client, window.start_s)
            passed = list(accumulate(window.gap(random) for _ in range(window.requests + 1)))
            for after in passed[:-1]:
                at_s = window.start_s + WINDOW_S * after / passed[-1]
                yield Request(at_s, self.workload_class, *_draw(lengths, random), tenant=tenant)


def recognises(head: Head) -> bool:
    """File names of chunks."""
    return _MARK in head.name and head.name.endswith((_TRACE, _LENGTHS))


class _WindowParser:
    """`start, rate, CV, law, two parameters` a line; None: no traffic."""

    def __init__(self) -> None:
        self._clock = Clock("the first column")

    def __call__(self, line: bytes) -> _Window | None:
        fields = line.decode("utf-8", "replace").strip().split(",")
        if len(fields) != 6:
            raise ValueError(f"expected 6 columns, got {len(fields)}")
        start_s = self._clock.tick(seconds("the start of the window", fields[0]))
        rate, shape = seconds("rate", fields[1]), seconds("shape", fields[4])
        if not fields[3] or not rate:
            return None
        return _Window(start_s, round(rate * WINDOW_S), _gap(fields[3], shape))


def _gap(law: str, shape: float) -> Callable[[Random], float]:
    """Draws gaps of scale 1."""
    if law in ("Weibull", "Gamma") and not shape > 0:
        raise ValueError(f"the shape of a {law} law must be more than 0, got {shape}")
    if law == "Weibull":
        return lambda random: random.weibullvariate(1.0, shape)
    if law == "Gamma":
        return lambda random: random.gammavariate(shape, 1.0)
    if law in ("Exponential", "Poisson"):
        return lambda random: random.expovariate(1.0)
    raise ValueError(f"unknown law of gaps {law!r}; known: Weibull, Gamma, Exponential")


def _lengths(member: Member) -> list[tuple[float, dict[str, str]]]:
    """(start, column -> distribution as text), in order of start; empty ones left out."""
    try:
        found = msgspec.json.decode(member.read(), type=dict[str, dict[str, str]])
    except msgspec.MsgspecError as fault:
        raise TraceError(member.where, 0, f"is not a set of length distributions: {fault}") from fault
    held = ((float(start), columns) for start, columns in found.items())
    return sorted((one for one in held if all(text != "{}" for text in one[1].values())), key=lambda one: one[0])


def _lengths_at(client: _Client, at_s: float) -> dict[str, _Distribution]:
    index = bisect_right([start for start, _ in client.lengths], at_s) - 1
    start, columns = client.lengths[max(index, 0)]
    if start not in client.cache:
        client.cache = {start: {name: _distribution(text) for name, text in columns.items() if name in _COLUMNS}}
    return client.cache[start]


_COLUMNS = ("input_tokens", "text_tokens", "image_tokens", "image_count", "output_tokens")


def _distribution(text: str) -> _Distribution:
    pairs = [pair.split(":") for pair in text.strip("{} ").split(",")]
    return _Distribution([float(value) for value, _ in pairs], list(accumulate(float(chance) for _, chance in pairs)))


def _draw(lengths: dict[str, _Distribution], random: Random) -> tuple[int, int]:
    drawn = {name: lengths[name].draw(random) for name in _COLUMNS if name in lengths}
    images = drawn.get("image_tokens", 0.0) * drawn.get("image_count", 0.0)
    input_tokens = drawn.get("input_tokens", 0.0) + drawn.get("text_tokens", 0.0) + images
    return min(max(round(input_tokens), 1), MAX_TOKENS), max(round(drawn.get("output_tokens", 0.0)), 0)
