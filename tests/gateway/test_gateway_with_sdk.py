"""A real client against the gateway: the OpenAI SDK, chat and stream, and backends that fail first."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import openai
import pytest
import uvloop

from headrace import __version__, rng
from headrace.config import load_fleet, parse_fleet
from headrace.fleet import Fleet
from headrace.gateway import start_gateway
from headrace.http import Exchange, HttpLimits, header_lines, serve
from headrace.ledger import UsageLedger
from headrace.ledger.journal import JournalFile, read_journal
from headrace.policy import PolicyEngine
from headrace.policy.journal import JournalHeader, first_difference

JSON = header_lines((b"content-type", b"application/json"))
SSE = header_lines((b"content-type", b"text/event-stream"))
WORDS = ("one ", "two ", "three")
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def chunk(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-oss-120b", "choices": choices}
    return b"data: " + json.dumps({**head, "usage": usage}).encode() + b"\n\n"


def answer(exchange: Exchange) -> None:
    """A model server that says three words."""
    body = json.loads(exchange.body)
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        exchange.respond(200, JSON, json.dumps({**whole, "usage": USAGE}).encode())
        return
    exchange.start(200, SSE)
    for word in WORDS:
        exchange.write(chunk([{"index": 0, "delta": {"content": word}, "finish_reason": None}]))
    exchange.write(chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    if (body.get("stream_options") or {}).get("include_usage"):
        exchange.write(chunk([], USAGE))
    exchange.write(b"data: [DONE]\n\n")
    exchange.finish()


def refuse(exchange: Exchange) -> None:
    exchange.respond(500, JSON, b'{"error":{"message":"broken","type":"server_error"}}')


@dataclass
class Running:
    base_url: str
    folder: Path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, examples_dir: Path) -> Iterator[Running]:
    """The acceptance fleet: the `gpu` backend answers 500 to everything, the `fast` one works."""
    folder = tmp_path_factory.mktemp("gateway")
    started: dict[str, object] = {}
    ready = threading.Event()
    text = (examples_dir / "azure-acceptance.toml").read_text()

    async def run() -> None:
        stop = asyncio.Event()
        started["stop"] = (asyncio.get_running_loop(), stop)
        broken = await serve(refuse, "127.0.0.1", 0, HttpLimits())
        working = await serve(answer, "127.0.0.1", 0, HttpLimits())
        fleet = with_urls(load_fleet(examples_dir / "azure-acceptance.toml"), broken.port, working.port)
        header = JournalHeader(1, __version__, 0, "prices", text)
        with UsageLedger(folder / "ledger") as ledger, JournalFile(folder / "journal", header) as journal:
            engine = PolicyEngine(fleet, rng.stream(0, "policy"))
            running = await start_gateway(fleet, engine, ledger, port=0, journal=journal.record)
            started["port"] = running.port
            ready.set()
            await stop.wait()
            await running.close(5.0)
        await broken.close()
        await working.close()

    thread = threading.Thread(target=lambda: uvloop.run(run()))
    thread.start()
    assert ready.wait(20)
    yield Running(f"http://127.0.0.1:{started['port']}/v1", folder)
    loop, stop = started["stop"]  # type: ignore[misc]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    header, entries = read_journal(folder / "journal")
    fresh = PolicyEngine(parse_fleet(header.fleet, "journal"), rng.stream(header.seed, "policy"))
    count, difference = first_difference(fresh, entries)
    assert count > 0
    assert difference is None, "a journal recorded live runs again to identical actions"


def with_urls(fleet: Fleet, gpu_port: int, fast_port: int) -> Fleet:
    ports = {"gpu": gpu_port, "fast": fast_port}
    pools = {
        name: replace(pool, backends=tuple(replace(b, url=f"http://127.0.0.1:{ports[name]}") for b in pool.backends))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


def client(gateway: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=20)


MESSAGES = [{"role": "user", "content": "count to three"}]


def test_chat_is_answered_by_another_backend_when_the_first_one_fails(gateway: Running) -> None:
    for _ in range(4):
        reply = client(gateway).chat.completions.create(model="gpt-oss-120b", messages=MESSAGES)  # type: ignore[call-overload]
        assert reply.choices[0].message.content == "one two three"
        assert reply.usage.total_tokens == 10


@pytest.mark.parametrize("asked", [False, True])
def test_stream_carries_the_usage_chunk_only_to_who_asked(gateway: Running, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    stream = client(gateway).chat.completions.create(  # type: ignore[call-overload]
        model="gpt-oss-120b", messages=MESSAGES, stream=True, **options
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert [c.usage.total_tokens for c in chunks if not c.choices] == ([10] if asked else [])


def test_unknown_model_is_a_404_in_openai_shape(gateway: Running) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client(gateway).chat.completions.create(model="no-such-model", messages=MESSAGES)  # type: ignore[call-overload]
    assert "no-such-model" in str(caught.value)


def test_the_decision_is_in_the_headers(gateway: Running) -> None:
    raw = client(gateway).chat.completions.with_raw_response.create(
        model="gpt-oss-120b", messages=MESSAGES, extra_headers={"x-headrace-class": "coding"}
    )
    assert raw.headers["x-headrace-backend"] == "fast-1"
    assert raw.headers["x-headrace-class"] == "coding"
    assert raw.headers["x-headrace-request-id"]


def test_models_are_listed(gateway: Running) -> None:
    assert "gpt-oss-120b" in {model.id for model in client(gateway).models.list()}
