"""An emulated backend refuses what it does not serve, and draws an answer's length from the request alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from headrace.config import load_fleet
from headrace.emulate import Emulator
from headrace.fleet import Fleet, OperatingPoint, Quota

MODEL = "gpt-oss-120b"
FAST_BACKEND = "cerebras-1"
REQUESTS = 10
Answer = tuple[int, bytes, Any]  # status, head, JSON body


async def exchange(port: int, method: str, path: str, body: bytes = b"") -> Answer:
    """One request over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%b %b HTTP/1.1\r\nhost: h\r\n" % (method.encode(), path.encode()))
    writer.write(b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
    answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, json.loads(content)


async def chat(port: int, words: int, **fields: object) -> Answer:
    messages = [{"role": "user", "content": "abcd" * words}]
    body = json.dumps({"model": MODEL, "messages": messages, **fields}).encode()
    return await exchange(port, "POST", "/v1/chat/completions", body)


def on_emulator(scenario: Callable[[int], Awaitable[Any]], seed: int = 0, fleet: Fleet | None = None) -> Any:
    """What `scenario` returns, given the port of a fast emulated backend."""

    async def run() -> Any:
        emulator = Emulator(fleet or load_fleet(), seed)
        urls = await emulator.start(ephemeral=True)
        try:
            return await scenario(int(urls[FAST_BACKEND].rpartition(":")[2]))
        finally:
            await emulator.stop()

    return uvloop.run(run())


def drawn_lengths(seed: int, **fields: object) -> list[tuple[int, str]]:
    """(output tokens, finish reason) of one answer to each of some requests that differ in their length."""

    async def scenario(port: int) -> list[Answer]:
        return list(await asyncio.gather(*(chat(port, words, **fields) for words in range(1, REQUESTS + 1))))

    answers = [body for status, _, body in on_emulator(scenario, seed) if status == 200]
    return [(body["usage"]["completion_tokens"], body["choices"][0]["finish_reason"]) for body in answers]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("POST", "/v1/nothing"),
        ("GET", "/v1/chat"),
    ],
)
def test_an_unknown_endpoint_is_a_404_with_an_error_in_json(method: str, path: str) -> None:
    status, head, body = on_emulator(lambda port: exchange(port, method, path))
    assert status == 404
    assert b"x-headrace-emulated: 1" in head
    assert body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_a_404_that_names_the_model_served(stream: bool) -> None:
    status, head, body = on_emulator(lambda port: chat(port, 1, model="gpt-2", stream=stream))
    assert status == 404
    assert b"x-headrace-emulated: 1" in head
    assert MODEL in body["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 1}', b'{"model": "gpt-oss-120b"}', b"\xff"])
def test_a_body_that_is_no_chat_request_is_a_400(body: bytes) -> None:
    status, _, answer = on_emulator(lambda port: exchange(port, "POST", "/v1/chat/completions", body))
    assert status == 400
    assert answer["error"]["message"]


def test_a_refusal_leaves_the_backend_serving() -> None:
    async def scenario(port: int) -> list[int]:
        bad = await chat(port, 1, model="gpt-2")
        good = await chat(port, 1, max_tokens=2)
        return [bad[0], good[0]]

    assert on_emulator(scenario) == [404, 200]


def test_lengths_are_drawn_by_the_request_and_the_seed_alone() -> None:
    first = drawn_lengths(seed=3)
    assert len(set(first)) > REQUESTS // 2, "requests differ, and so do their answers"
    assert drawn_lengths(seed=3) == first, "the same on every start"
    assert drawn_lengths(seed=4) != first


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_drawn_length_stays_within_the_ceiling_and_says_so_when_it_is_cut(field: str) -> None:
    free = drawn_lengths(seed=3, **{field: 999})  # as many digits: bodies of equal length draw the same
    cut = drawn_lengths(seed=3, **{field: 100})
    assert [tokens for tokens, _ in cut] == [min(tokens, 100) for tokens, _ in free]
    assert [reason for _, reason in cut] == ["length" if tokens > 100 else "stop" for tokens, _ in free]
    assert {reason for _, reason in cut} == {"length", "stop"}


def as_a_service(quota: Quota | None) -> Fleet:
    """The sample fleet, with the fast pool as an observed service that has a prefix cache and rate limits."""
    fleet = load_fleet()
    pool = next(pool for pool in fleet.pools.values() if pool.backends[0].name == FAST_BACKEND)
    point = OperatingPoint(0.01, 1e5, 0.0001, cache_ttl_s=300.0)
    service = replace(pool.deployment, accelerator=None, observed=point, quota=quota)
    return replace(fleet, pools=fleet.pools | {pool.name: replace(pool, deployment=service)})


def test_a_repeated_prompt_is_found_in_the_prefix_cache_and_said_in_usage() -> None:
    async def scenario(port: int) -> list[int]:
        answers = [await chat(port, 100, max_tokens=2) for _ in range(2)]
        answers.append(await chat(port, 50, max_tokens=2))
        return [body["usage"]["prompt_tokens_details"]["cached_tokens"] for _, _, body in answers]

    assert on_emulator(scenario, fleet=as_a_service(None)) == [0, 96, 48]
    assert on_emulator(scenario) == [0, 0, 0], "the sample fleet has no prefix cache"


def test_an_emulated_service_turns_away_what_exceeds_its_rate_limits() -> None:
    async def scenario(port: int) -> list[Answer]:
        first = await chat(port, 100, max_tokens=2000)
        return [first, await chat(port, 100, max_tokens=2900), await chat(port, 100, max_tokens=9000)]

    quota = Quota(tokens_per_minute=3000, true_up=False)
    (first, second, third) = on_emulator(scenario, fleet=as_a_service(quota))
    assert (first[0], second[0], third[0]) == (200, 429, 400)
    assert second[2]["error"]["code"] == "rate_limit_exceeded"
    retry_after_s = int(second[1].partition(b"retry-after: ")[2].split(b"\r\n")[0])
    assert 40 <= retry_after_s <= 43
    assert "lower max_completion_tokens" in third[2]["error"]["message"]


def test_metrics_say_what_vllm_says_of_its_load() -> None:
    async def scenario(port: int) -> tuple[str, str]:
        idle = await text(port, "/metrics")
        busy = asyncio.ensure_future(chat(port, 50, max_tokens=2000))
        while "vllm:num_requests_running" not in (found := await text(port, "/metrics")) or running(found) == 0:
            await asyncio.sleep(0)
        busy.cancel()
        return idle, found

    idle, busy = on_emulator(scenario)
    assert running(idle) == 0
    assert running(busy) == 1
    for name in ("num_requests_waiting", "kv_cache_usage_perc"):
        assert f'vllm:{name}{{model_name="{MODEL}"}}' in busy
    usage = float(busy.split("kv_cache_usage_perc", 1)[1].split("} ")[1].split()[0])
    assert 0.0 < usage < 1.0


def running(metrics: str) -> int:
    return int(metrics.split(f'vllm:num_requests_running{{model_name="{MODEL}"}} ')[1].split()[0])


async def text(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" % path.encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


def test_fields_that_are_null_are_as_if_they_were_not_there() -> None:
    nulls = {"stream": None, "stream_options": None, "max_tokens": None}
    status, _, answer = on_emulator(lambda port: chat(port, 1, **nulls))
    assert (status, answer["choices"][0]["message"]["refusal"]) == (200, None)
