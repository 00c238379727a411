"""A probe: a live endpoint measured within a budget, cell by cell, each written down as soon as it is measured.

Safe at a paid API: nothing is sent that could exceed the agreed worst case, or the budget. Before each cell its worst
case is added to what was really spent; if that is too much the cell is left out. An endpoint that says 429 is left
alone for as long as it asks, and the cell is sent again, a limited number of times. What can never succeed (a wrong
key, an unknown model, nobody there) ends the probe at once with what to do about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random, SystemRandom

import msgspec

from headrace.bench.flight import Flight
from headrace.bench.probe_file import ProbeFile, ProbeRecord
from headrace.bench.probe_flight import ProbeFlight, request_of
from headrace.bench.probe_plan import Budget, Cell, Selection, Shot, Spend
from headrace.bench.sizing import Sizing, fit_sizing, unique_prompt, unique_text
from headrace.errors import BackendError, ConfigError, Fault
from headrace.http import ClientExchange, ConnectionPool, PoolLimits
from headrace.wire import retry_after_s

ENDPOINT = b"/v1/chat/completions"
PREFIX_FRACTION = 0.8
HOPELESS = {
    400: "the endpoint refuses the request: see what it says; --token-field and --ignore-eos change what is sent",
    401: "the key is refused: check --api-key-env",
    402: "the account has no money left",
    403: "the key may not use this model: check --api-key-env and --model",
    404: "no such model or endpoint: check --model, and give the base URL without /v1/chat/completions",
    413: "the prompt is too large: lower --max-input",
    422: "the endpoint refuses the request: see what it says",
}
AGAIN = frozenset((408, 409, 425, 429, 498, 500, 502, 503, 504, 529))


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How a probe behaves.

    Attributes:
        api_key: bearer token; None: none is sent.
        token_field: the body's name for the ceiling on output tokens.
        ignore_eos: ask that answers go on to their ceiling (vLLM, SGLang and llama.cpp know the field).
        timeout_s: a request that has not ended by then has failed.
        attempts: runs of one cell, at most; `pause_s`: before the second where the endpoint asks for nothing.
        longest_pause_s: an endpoint that asks for a longer one ends the probe.
        failures: cells in a row without one complete answer that end the probe.
    """

    api_key: str | None = None
    token_field: str = "max_tokens"
    ignore_eos: bool = False
    timeout_s: float = 300.0
    attempts: int = 3
    pause_s: float = 2.0
    longest_pause_s: float = 120.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class ProbeProgress:
    """Where a probe is: requests ended, of those chosen; spent in this and earlier runs; what it is doing."""

    ended: int
    total: int
    spent: Spend
    doing: str


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """How a probe ended.

    Attributes:
        measured: cells that are complete now.
        missing: cells that failed or were cut short, or that the budget stopped.
        stopped: it was stopped from outside.
    """

    measured: int
    missing: list[str]
    spent: Spend
    stopped: bool


def complete_cells(records: Sequence[ProbeRecord], cells: Sequence[Cell]) -> dict[str, list[ProbeRecord]]:
    """The requests of every cell that was measured whole, in the order of `cells`; of several runs the last one."""
    runs: dict[tuple[str, int], list[ProbeRecord]] = {}
    for record in records:
        runs.setdefault((record.cell, record.attempt), []).append(record)
    sizes = {cell.name: len(cell.shots) for cell in cells}
    found: dict[str, list[ProbeRecord]] = {}
    for (name, _), run in runs.items():
        if len(run) == sizes.get(name) and all(record.completed for record in run):
            found[name] = sorted(run, key=lambda record: record.index)
    return {cell.name: found[cell.name] for cell in cells if cell.name in found}


def spent_before(records: Sequence[ProbeRecord]) -> Spend:
    """What a probe may have cost until now: the backend's counts, and the worst case of requests without one."""
    inputs = sum(record.spent_input_tokens for record in records)
    return Spend(len(records), inputs, sum(record.spent_output_tokens for record in records))


async def probe(
    selection: Selection,
    file: ProbeFile,
    budget: Budget,
    settings: ProbeSettings | None = None,
    *,
    on_progress: Callable[[ProbeProgress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> ProbeOutcome:
    """Measure the selected cells of the endpoint that `file` names, and write each request down.

    Args:
        stop: once set, what is on its way is cancelled and written down as such.

    Raises:
        BackendError: the endpoint cannot be probed; what was measured until then is in the file.
        ConfigError: the URL is not one.
    """
    run = _Run(selection, file, budget, settings or ProbeSettings(), on_progress, stop or asyncio.Event())
    try:
        return await run.all()
    finally:
        await run.pool.close()


class _Run:
    """One run of a probe."""

    def __init__(
        self,
        selection: Selection,
        file: ProbeFile,
        budget: Budget,
        settings: ProbeSettings,
        on_progress: Callable[[ProbeProgress], None] | None,
        stop: asyncio.Event,
    ) -> None:
        self._selection = selection
        self._file = file
        self._settings = settings
        self._on_progress = on_progress
        self._stop = stop
        self._spent = spent_before(file.records)
        agreed = self._spent.plus(selection.worst)
        self._budget = budget.at_most(agreed.requests + selection.retries, agreed.tokens)
        self._random: Random = SystemRandom()
        self._ended = 0
        self._total = selection.worst.requests
        self._failed_in_a_row = 0
        self.pool = _pool(file.header.url, max(len(cell.shots) for cell in selection.cells) if selection.cells else 1)
        self._head = _head(self.pool, settings.api_key)

    async def all(self) -> ProbeOutcome:
        """Every cell, until done or stopped."""
        missing = []
        measured = 0
        self.pool.warm_up()
        for cell in self._selection.cells:
            if self._stop.is_set() or not await self._cell(cell):
                missing.append(cell.name)
            else:
                measured += 1
            self._tell(cell.name)
        return ProbeOutcome(measured, missing, self._spent, self._stop.is_set())

    async def _cell(self, cell: Cell) -> bool:
        """Run a cell until it is complete; whether it is."""
        first = 1 + max((record.attempt for record in self._file.records if record.cell == cell.name), default=-1)
        for attempt in range(first, first + self._settings.attempts):
            if self._stop.is_set() or not self._budget.allows(self._spent.plus(cell.worst)):
                return False
            records = await self._attempt(cell, attempt)
            self._file.add(records)
            self._spent = self._spent.plus(spent_before(records))
            if all(record.completed for record in records):
                self._failed_in_a_row = 0
                self._ended += len(records)
                return True
            if self._stop.is_set():
                return False
            self._end_if_hopeless(cell, records)
            if not any(record.status is None or record.status in AGAIN for record in records):
                return False
            await self._pause(records, attempt - first)
        self._failed_in_a_row += 1
        self._end_if_failing(records)
        return False

    async def _attempt(self, cell: Cell, attempt: int) -> list[ProbeRecord]:
        self._tell(cell.name)
        flights = _CellRun(cell, self._prompts(cell), self.pool, self._write, self._settings.timeout_s)
        await flights.run(self._stop)
        sent = [flight for flight in flights.flights if flight is not None]
        start_s = sent[0].sent_s
        return [
            flight.record(cell, attempt, index, start_s)
            for index, flight in enumerate(flights.flights)
            if flight is not None
        ]

    def _prompts(self, cell: Cell) -> list[str]:
        """A text for every shot; those with the same prefix begin alike."""
        beginnings: dict[str, str] = {}
        prompts = []
        for shot in cell.shots:
            size = shot.prompt_bytes or self._sizing().prompt_bytes(shot.input_tokens)
            beginning = ""
            if shot.prefix:
                text = unique_text(self._random, int(size * PREFIX_FRACTION))
                beginning = beginnings.setdefault(shot.prefix, text)
            prompts.append(unique_prompt(self._random, size, beginning))
        return prompts

    def _sizing(self) -> Sizing:
        points = [(record.prompt_bytes, record.input_tokens or 0) for record in self._file.records if record.completed]
        sizing = fit_sizing(points)
        if sizing is None:
            raise BackendError(
                f"{self._file.header.url}: prompts cannot be sized, for the endpoint's answers do not say how many "
                "input tokens they had (usage of a stream with include_usage); such an endpoint cannot be probed"
            )
        return sizing

    def _write(self, shot: Shot, prompt: str) -> tuple[bytes, bytes]:
        body = msgspec.json.encode(
            {
                "model": self._file.header.model,
                "stream": True,
                "stream_options": {"include_usage": True},
                self._settings.token_field: shot.max_tokens,
                **({"ignore_eos": True} if self._settings.ignore_eos else {}),
                "messages": [{"role": "user", "content": prompt}],
            }
        )
        emulated = b"x-headrace-emulated-output-tokens: %d\r\n" % shot.max_tokens
        return b"%b%bcontent-length: %d\r\n\r\n" % (self._head, emulated, len(body)), body

    def _end_if_hopeless(self, cell: Cell, records: Sequence[ProbeRecord]) -> None:
        for record in records:
            if record.status in HOPELESS:
                raise BackendError(f"{self._file.header.url}: {record.error}\n{HOPELESS[record.status or 0]}")
            if record.outcome == "completed" and not record.input_tokens:
                self._sizing()  # raises
            if record.status is None and record.error is not None and "refused" in record.error:
                raise BackendError(f"{self._file.header.url}: no connection; is the server up, and is this its URL?")

    def _end_if_failing(self, records: Sequence[ProbeRecord]) -> None:
        if self._failed_in_a_row >= self._settings.failures:
            said = next((record.error for record in records if record.error), "no complete answer")
            raise BackendError(
                f"{self._file.header.url}: {self._failed_in_a_row} measurements in a row failed, the last with: "
                f"{said}\nwhat was measured is in {self._file.path}; the same command goes on from there"
            )

    async def _pause(self, records: Sequence[ProbeRecord], tries: int) -> None:
        """Leave the endpoint alone for as long as it asks."""
        asked = [retry_after_s(record.rate_limit_headers, 0.0) or 0.0 for record in records]
        pause_s = max(*asked, 0.0) or self._settings.pause_s * 2**tries
        if pause_s > self._settings.longest_pause_s:
            raise BackendError(
                f"{self._file.header.url}: the rate limit asks for a pause of {pause_s:.0f} s; what was measured is in "
                f"{self._file.path}; give the same command again then"
            )
        self._tell(f"pause of {pause_s:.0f} s, as the endpoint asks")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)

    def _tell(self, doing: str) -> None:
        if self._on_progress is not None:
            self._on_progress(ProbeProgress(self._ended, self._total, self._spent, doing))


class _CellRun:
    """Sends the requests of one cell and waits for their ends."""

    def __init__(
        self,
        cell: Cell,
        prompts: list[str],
        pool: ConnectionPool,
        write: Callable[[Shot, str], tuple[bytes, bytes]],
        timeout_s: float,
    ) -> None:
        self.flights: list[ProbeFlight | None] = [None] * len(cell.shots)
        self._cell = cell
        self._prompts = prompts
        self._pool = pool
        self._write = write
        self._timeout_s = timeout_s
        self._exchanges: dict[int, ClientExchange] = {}
        self._unsent = list(range(len(cell.shots)))
        self._changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until all have ended, `stop` is set or time is up."""
        running = asyncio.create_task(self._all())
        stopping = asyncio.create_task(stop.wait())
        timeout_s = self._timeout_s * (len(self._cell.shots) if self._cell.sequential else 1)
        await asyncio.wait((running, stopping), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, stopping):
            task.cancel()
        outcome, error = ("cancelled", "probe stopped") if stop.is_set() else ("failed", "timeout")
        for index, exchange in self._exchanges.items():
            flight = self.flights[index]
            if flight is not None and flight.outcome is None:
                exchange.cancel()
                flight.end(outcome, error)

    async def _all(self) -> None:
        while self._unsent or any(flight is not None and flight.outcome is None for flight in self.flights):
            self._changed.clear()
            if self._cell.sequential and any(
                f is not None and f.outcome not in (None, "completed") for f in self.flights
            ):
                return  # what follows would only fail as well
            for index in [index for index in self._unsent if self._due(index)]:
                self._unsent.remove(index)
                self._send(index)
            await self._changed.wait()

    def _due(self, index: int) -> bool:
        if self._cell.sequential and index:
            before = self.flights[index - 1]
            return before is not None and before.outcome is not None
        first = self.flights[0]
        awaited = self._cell.shots[index].after_tokens
        return not awaited or (first is not None and (first.tokens_seen >= awaited or first.outcome is not None))

    def _send(self, index: int) -> None:
        shot, prompt = self._cell.shots[index], self._prompts[index]
        head, body = self._write(shot, prompt)
        flight = ProbeFlight(request_of(shot), len(prompt), self._ended, self._seen)
        self.flights[index] = flight
        self._exchanges[index] = self._pool.send(head, body, flight)

    def _ended(self, flight: Flight) -> None:
        self._changed.set()

    def _seen(self, tokens: int) -> None:
        if self._unsent:
            self._changed.set()


def _pool(url: str, most: int) -> ConnectionPool:
    try:
        return ConnectionPool(url, PoolLimits(warm=most, max_connections=4 * most))
    except ValueError as fault:
        raise ConfigError("command line", [Fault("URL", str(fault))]) from fault


def _head(pool: ConnectionPool, api_key: str | None) -> bytes:
    authorization = b"" if api_key is None else b"authorization: Bearer %b\r\n" % api_key.encode()
    return b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n%b" % (
        pool.prefix + ENDPOINT,
        pool.host_header,
        authorization,
    )
