"""A small OpenAI-compatible backend that does what a test tells it, and a probe of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import uvloop

from headrace.bench import (
    Budget,
    Cell,
    ProbeFile,
    ProbeHeader,
    ProbeOutcome,
    ProbePlan,
    ProbeSettings,
    complete_cells,
    probe,
    select,
    spent_before,
)
from headrace.http import Exchange, header_lines, serve
from headrace.wire import DONE, chat_chunk, chat_usage_chunk

Handler = Callable[[Exchange], None]
PLAN = ProbePlan(max_input=200, max_concurrency=2, repeats=1, output_tokens=24, short_output_tokens=4)
LIMITS = (
    (b"content-type", b"text/event-stream"),
    (b"x-ratelimit-limit-requests-day", b"1000"),
    (b"x-ratelimit-remaining-requests-day", b"999"),
    (b"x-ratelimit-reset-requests-day", b"33011.38"),
)


def answer(exchange: Exchange, *, usage: bool = True, bytes_per_token: float = 4.0) -> None:
    """A whole answer as long as the ceiling, by a tokenizer of `bytes_per_token` and a template of 7 tokens."""
    body = json.loads(exchange.body)
    tokens = body["max_tokens"]
    size = len(body["messages"][0]["content"])
    exchange.start(200, header_lines(*LIMITS))
    exchange.write(b"".join(chat_chunk("c", "m", 0, "word") for _ in range(tokens)))
    exchange.write(chat_chunk("c", "m", 0, None, finish_reason="length"))
    if usage:
        exchange.write(chat_usage_chunk("c", "m", 0, 7 + round(size / bytes_per_token), tokens))
    exchange.write(DONE)
    exchange.finish()


class Probed:
    """Runs probes of one backend into one file.

    Attributes:
        seen: bodies of all requests that came.
    """

    def __init__(self, path: Path, handler: Handler = answer) -> None:
        self.path = path
        self.handler = handler
        self.seen: list[dict[str, object]] = []

    def run(
        self,
        plan: ProbePlan = PLAN,
        budget: Budget | None = None,
        *,
        stop_after: int | None = None,
        **settings: float,
    ) -> ProbeOutcome:
        """One run, as `headrace probe` does it, until done or until `stop_after` requests have come."""
        return uvloop.run(self._run(plan.cells(), budget or Budget(), stop_after, ProbeSettings(**settings)))

    async def _run(
        self, cells: list[Cell], budget: Budget, stop_after: int | None, settings: ProbeSettings
    ) -> ProbeOutcome:
        stop = asyncio.Event()

        def handle(exchange: Exchange) -> None:
            self.seen.append(json.loads(exchange.body))
            if len(self.seen) == stop_after:
                stop.set()
            else:
                self.handler(exchange)

        server = await serve(handle, "127.0.0.1", 0)
        try:
            file = ProbeFile(self.path, ProbeHeader(1, "http://backend", "m", "2026-11-25"))
            file.header = ProbeHeader(1, f"http://127.0.0.1:{server.port}", "m", "2026-11-25")
            done = complete_cells(file.records, cells)
            selection = select(cells, done, spent_before(file.records), budget)
            return await probe(selection, file, budget, settings, stop=stop)
        finally:
            await server.close()
