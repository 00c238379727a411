"""The emulator speaks the wire, counts exactly, and frees what an answer held."""

from __future__ import annotations

import asyncio
import json

import openai
import uvloop

from headrace.config import load_fleet
from headrace.emulate import Emulator

MESSAGES = [{"role": "user", "content": "abcd" * 50}]


async def ask(client: openai.AsyncOpenAI, tokens: int) -> tuple[int, int, str | None]:
    """(content events, output tokens by usage, finish reason) of one stream."""
    stream = await client.chat.completions.create(  # type: ignore[call-overload]
        model="gpt-oss-120b",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"x-headrace-emulated-output-tokens": str(tokens)},
    )
    events, usage, finish = 0, 0, None
    async for chunk in stream:
        if chunk.usage is not None:
            usage = chunk.usage.completion_tokens
            assert chunk.usage.prompt_tokens == 50
        for choice in chunk.choices:
            events += bool(choice.delta.content)
            finish = choice.finish_reason or finish
    return events, usage, finish


def test_streams_carry_exactly_the_tokens_asked_for() -> None:
    async def run() -> None:
        emulator = Emulator(load_fleet())
        urls = await emulator.start(ephemeral=True)
        client = openai.AsyncOpenAI(base_url=urls["cerebras-1"] + "/v1", api_key="x", max_retries=0)
        answers = await asyncio.gather(*(ask(client, 20 + i) for i in range(16)))
        assert answers == [(20 + i, 20 + i, "stop") for i in range(16)]
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-oss-120b",
            messages=MESSAGES,
            max_tokens=5,
            extra_headers={"x-headrace-emulated-output-tokens": "9"},
        )
        assert raw.headers["x-headrace-emulated"] == "1"
        body = json.loads(raw.content)
        assert body["usage"]["completion_tokens"] == 5
        assert body["choices"][0]["finish_reason"] == "length"
        await client.close()
        await emulator.stop()

    uvloop.run(run())
