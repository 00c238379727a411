"""Replay against a small server of its own: each kind of answer ends its request once, in the right way."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bench import Flight, ReplayProgress, ReplayResult, ReplaySettings, replay
from headrace.errors import ConfigError
from headrace.fleet import (
    Backend,
    Deployment,
    Fleet,
    Model,
    OperatingPoint,
    PerToken,
    Pool,
    Route,
    Share,
    ShareUnit,
)
from headrace.http import Exchange, header_lines, serve
from headrace.metrics import RunMetrics, WorkRate, encode_report
from headrace.wire import DONE, chat_chunk, chat_usage_chunk
from headrace.workload import Request, Turn, WorkloadClass

MODEL = Model("m", 1e9, 1e9, 1e9, 4, 1, 1, 1, 1, 1, 4096, 1000, "test")
HEADERS = header_lines((b"content-type", b"text/event-stream"), (b"x-headrace-backend", b"fast-0"))


def fleet(timeout_s: float = 30.0) -> Fleet:
    deployment = Deployment("d", MODEL, observed=OperatingPoint(0.2, 1e4, 0.01))
    pools = {
        "gpu": Pool("gpu", deployment, PerToken(0.1, 0.4), (Backend("gpu-0", "gpu", "http://a"),)),
        "fast": Pool("fast", deployment, PerToken(0.5, 2.0), (Backend("fast-0", "fast", "http://b"),)),
    }
    classes = {"chat": WorkloadClass("chat", 0.001, timeout_s=timeout_s)}
    shares = {"fast": Share("fast", ("fast",), 0.1, ShareUnit.REQUESTS)}
    return Fleet({"m": MODEL}, {"d": deployment}, pools, classes, shares, (Route(("fast",), workload_class="chat"),))


def answer(tokens: int, *, finish: bool = True, done: bool = True, input_tokens: int = 5) -> list[bytes]:
    chunks = [chat_chunk("c", "m", 0, "word", role=index == 0) for index in range(tokens)]
    if finish:
        chunks.append(chat_chunk("c", "m", 0, None, finish_reason="stop"))
    chunks.append(chat_usage_chunk("c", "m", 0, input_tokens, tokens))
    return [*chunks, DONE] if done else chunks


def stream(exchange: Exchange, chunks: Sequence[bytes], headers: bytes = HEADERS) -> None:
    exchange.start(200, headers)
    for chunk in chunks:
        exchange.write(chunk)


def complete(exchange: Exchange) -> None:
    stream(exchange, answer(int(exchange.headers[b"x-headrace-emulated-output-tokens"])))
    exchange.finish()


def run(
    handler: Callable[[Exchange], None],
    requests: Sequence[Request],
    *,
    timeout_s: float = 30.0,
    stop_after: int | None = None,
    **options: object,
) -> ReplayResult:
    metrics = RunMetrics(fleet(timeout_s), {"fast": WorkRate(1.0, 0.0, 0.0)})

    async def main() -> ReplayResult:
        stop = asyncio.Event()
        seen = 0

        def counted(exchange: Exchange) -> None:
            nonlocal seen
            seen += 1
            handler(exchange)
            if seen == stop_after:
                stop.set()

        server = await serve(counted, "127.0.0.1", 0)
        try:
            url = f"http://127.0.0.1:{server.port}"
            return await replay(url, requests, metrics, ReplaySettings(lead_s=0.01, **options), stop=stop)
        finally:
            await server.close()

    return uvloop.run(main())


def requests_at(*arrivals_s: float, output_tokens: int = 3) -> list[Request]:
    return [Request(at_s, "chat", 5, output_tokens) for at_s in arrivals_s]


def counts(result: ReplayResult) -> dict[str, int]:
    report = json.loads(encode_report(result.report()))
    assert report["requests"]["arrived"] == result.sent
    return {outcome: count for outcome, count in report["requests"].items() if count and outcome != "arrived"}


def test_complete_answers_are_measured_and_booked() -> None:
    result = run(complete, requests_at(0.0, 0.01, 0.01, output_tokens=8))
    totals = result.metrics.classes["chat"]
    assert counts(result) == {"completed": 3}
    assert (totals.ttft.count, totals.tpot.count, totals.e2e.count, totals.output_tokens) == (3, 3, 3, 24)
    assert result.metrics.pools["fast"].requests == 3
    assert result.metrics.pools["fast"].cost_usd == pytest.approx(3 * (5 * 0.5 + 8 * 2.0) / 1e6)
    assert result.metrics.shares["fast"].realized == 1.0
    assert result.lateness.count == 3
    assert result.worst_lateness_s is not None


def test_the_request_on_the_wire_has_the_prompt_the_class_and_no_true_length_but_for_the_emulator() -> None:
    seen: list[tuple[dict[bytes, bytes], dict]] = []

    def look(exchange: Exchange) -> None:
        seen.append((exchange.headers, json.loads(exchange.body)))
        complete(exchange)

    run(look, [Request(0.0, "chat", 250, 7)], max_tokens=9999, api_key="k")
    (headers, body), *_ = seen
    assert headers[b"x-headrace-class"] == b"chat"
    assert headers[b"x-headrace-emulated-output-tokens"] == b"7"
    assert headers[b"authorization"] == b"Bearer k"
    assert sum(len(message["content"].encode()) for message in body["messages"]) == 4 * 250
    assert (body["model"], body["stream"], body["stream_options"]) == ("m", True, {"include_usage": True})
    assert body["max_tokens"] == 9999


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        (answer(3, done=False), "stream without [DONE]"),
        (answer(3, finish=False), "stream without finish_reason"),
        ([answer(1)[0], b'data: {"error": {"message": "out of memory"}}\n\n'], None),
        ([], "stream without finish_reason"),
    ],
)
def test_a_stream_that_ends_politely_but_early_has_failed(chunks: list[bytes], error: str | None) -> None:
    def truncate(exchange: Exchange) -> None:
        stream(exchange, chunks)
        exchange.finish()

    result = run(truncate, requests_at(0.0))
    assert counts(result) == {"failed": 1}
    assert error is None or result.errors == {error: 1}


def test_a_cut_connection_has_failed_and_its_tokens_are_booked() -> None:
    def cut(exchange: Exchange) -> None:
        stream(exchange, answer(5)[:2])
        exchange.abort()

    result = run(cut, requests_at(0.0))
    assert counts(result) == {"failed": 1}
    assert result.errors == {"stream reset": 1}
    assert result.metrics.pools["fast"].output_tokens == 2


@pytest.mark.parametrize("status", [400, 429, 503])
def test_an_http_error_is_a_rejection_and_no_attempt(status: int) -> None:
    result = run(lambda exchange: exchange.respond(status, HEADERS, b"{}"), requests_at(0.0))
    assert counts(result) == {"rejected": 1}
    assert result.errors == {f"HTTP {status}": 1}
    assert result.metrics.pools["fast"].requests == 0


def test_a_server_that_is_not_there_fails_every_request() -> None:
    async def main() -> ReplayResult:
        server = await serve(complete, "127.0.0.1", 0)
        await server.close()
        metrics = RunMetrics(fleet(), {"fast": WorkRate(1.0, 0.0, 0.0)})
        return await replay(f"http://127.0.0.1:{server.port}", requests_at(0.0, 0.0), metrics)

    assert counts(asyncio.run(main())) == {"failed": 2}


def test_a_stalled_answer_fails_at_its_class_timeout() -> None:
    result = run(lambda exchange: None, requests_at(0.0), timeout_s=0.05)
    assert counts(result) == {"failed": 1}
    assert result.errors == {"timeout": 1}


def test_a_stopped_replay_cancels_what_is_on_its_way_and_sends_nothing_more() -> None:
    result = run(lambda exchange: None, requests_at(0.0, 0.0, 3600.0), stop_after=2)
    assert counts(result) == {"cancelled": 2}


def test_beyond_the_safety_limit_nothing_is_sent() -> None:
    result = run(lambda exchange: None, requests_at(0.0, 0.0, 0.0), timeout_s=0.1, max_in_flight=2)
    assert counts(result) == {"failed": 3}
    assert result.errors == {"timeout": 2, "driver's max_in_flight reached": 1}


def test_an_answer_without_a_backend_is_in_no_pool() -> None:
    def anonymous(exchange: Exchange) -> None:
        stream(exchange, answer(2), header_lines((b"content-type", b"text/event-stream")))
        exchange.finish()

    result = run(anonymous, requests_at(0.0))
    assert counts(result) == {"completed": 1}
    assert result.unattributed == 1
    assert result.metrics.shares["fast"].realized is None


def test_open_loop_does_not_wait_for_answers() -> None:
    waiting: list[Exchange] = []

    def all_at_once(exchange: Exchange) -> None:
        waiting.append(exchange)
        if len(waiting) == 20:
            for one in waiting:
                complete(one)

    result = run(all_at_once, requests_at(*[index / 1000 for index in range(20)]))
    assert counts(result) == {"completed": 20}


def test_progress_ends_with_everything_ended() -> None:
    told: list[ReplayProgress] = []

    async def main() -> None:
        server = await serve(complete, "127.0.0.1", 0)
        metrics = RunMetrics(fleet(), {"fast": WorkRate(1.0, 0.0, 0.0)})
        url = f"http://127.0.0.1:{server.port}"
        await replay(url, requests_at(0.0, 0.0), metrics, on_progress=told.append)
        await server.close()

    asyncio.run(main())
    assert (told[-1].sent, told[-1].ended) == (2, 2)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ConfigError, match="other: no such class in the fleet; it has chat"):
        run(complete, [Request(0.0, "other", 1, 1)])
    metrics = RunMetrics(fleet(), {"fast": WorkRate(1.0, 0.0, 0.0)})
    with pytest.raises(ConfigError, match="base_url: 'nowhere' is not a backend's URL"):
        asyncio.run(replay("nowhere", [], metrics))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 2000), max_size=8), st.booleans())
def test_however_a_stream_is_cut_into_pieces_only_a_whole_one_completes(
    tokens: int, cuts: list[int], whole: bool
) -> None:
    text = b"".join(answer(tokens, done=whole))
    ended: list[Flight] = []
    flight = Flight(Request(0.0, "chat", 5, tokens), 0.0, ended.append)
    flight.on_head(200, {b"x-headrace-backend": b"fast-0"})
    edges = [0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]
    for start, end in itertools.pairwise(edges):
        flight.on_data(text[start:end])
    flight.on_end(True)
    flight.on_end(True)
    assert ended == [flight]
    assert flight.outcome == ("completed" if whole else "failed")
    assert flight.output_tokens == tokens
    assert flight.ttft_s is not None
    assert flight.tpot_s is None if tokens < 2 else flight.tpot_s is not None


def test_a_turn_is_sent_when_the_one_before_has_been_answered() -> None:
    def turn(number: int, pause_s: float) -> Request:
        ends = number == 2
        return Request(0.0, "chat", 5, 3, turn=Turn("t", "t", number, pause_s, ends_session=ends, ends_task=ends))

    open_now = most_at_once = 0

    def one_at_a_time(exchange: Exchange) -> None:
        nonlocal open_now, most_at_once
        open_now += 1
        most_at_once = max(most_at_once, open_now)
        asyncio.get_running_loop().call_later(0.01, finish, exchange)

    def finish(exchange: Exchange) -> None:
        nonlocal open_now
        open_now -= 1
        complete(exchange)

    result = run(one_at_a_time, [turn(0, 0.0), turn(1, 0.02), turn(2, 0.0)])
    totals = result.metrics.classes["chat"]
    assert (result.sent, totals.outcomes["completed"], most_at_once) == (3, 3, 1)
    assert totals.tasks is not None
    assert (totals.tasks.count, totals.tasks.completed) == (1, 1)
    assert result.last_arrival_s > 0.02


def test_turns_that_never_came_due_are_not_sent_when_the_replay_is_stopped() -> None:
    turns = [Request(0.0, "chat", 5, 3, turn=Turn("t", "t", number, 3600.0)) for number in range(2)]
    result = run(complete, turns, stop_after=1)
    assert result.sent == 1
