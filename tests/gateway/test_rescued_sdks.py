"""The SDKs of OpenAI and Anthropic read a stream that another backend went on with as one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anthropic
import openai
import pytest
from gateway_rig import Rig, RunRig
from rescue_rig import INPUT_TOKENS, PIECES, TEXT, Broken, ScriptedModel, add_dialects, rescued, stream_of

from headrace.wire import ApiName
from headrace.wire.dialects import Continuation

QUESTION = [{"role": "user", "content": "Name them."}]
Read = Callable[[str], Awaitable[tuple[str, int]]]


async def by_chat(url: str) -> tuple[str, int]:
    options = {"include_usage": True}
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="m", messages=QUESTION, stream_options=options) as stream,
    ):
        async for _ in stream:
            pass
        found = await stream.get_final_completion()
    assert found.choices[0].finish_reason == "stop"
    return found.choices[0].message.content, found.usage.completion_tokens


async def by_completions(url: str) -> tuple[str, int]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        options = {"include_usage": True}
        asked = await client.completions.create(model="m", prompt="Name them.", stream=True, stream_options=options)
        chunks = [chunk async for chunk in asked]
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    return text, chunks[-1].usage.completion_tokens


async def by_responses(url: str) -> tuple[str, int]:
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="Name them.") as stream,
    ):
        async for _ in stream:
            pass
        found = await stream.get_final_response()
    assert found.status == "completed"
    return found.output_text, found.usage.output_tokens


async def by_messages(url: str) -> tuple[str, int]:
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=99, messages=QUESTION) as stream,
    ):
        found = await stream.get_final_message()
    assert found.stop_reason == "end_turn"
    return "".join(block.text for block in found.content), found.usage.output_tokens


CASES: list[tuple[Read, tuple[ApiName, ...], Continuation]] = [
    (by_chat, ("chat",), Continuation.TRAILING_ASSISTANT),
    (by_completions, ("completions",), Continuation.NONE),
    (by_responses, ("responses", "chat"), Continuation.CONTINUE_FLAG),
    (by_responses, ("chat",), Continuation.TRAILING_ASSISTANT),
    (by_messages, ("messages", "chat"), Continuation.CONTINUE_FLAG),
    (by_messages, ("chat",), Continuation.TRAILING_ASSISTANT),
]


@pytest.mark.parametrize("size", [20, 10_000])
@pytest.mark.parametrize("mark", [b"rivers", b"so "])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-of-{case[1][0]}")
def test_a_rescued_stream_is_one_answer_to_the_sdk(
    run_rig: RunRig,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[Read, tuple[ApiName, ...], Continuation],
    mark: bytes,
    size: int,
) -> None:
    read, apis, how = case
    add_dialects(monkeypatch)
    model = ScriptedModel()

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of(apis[0]).index(mark) - 3, [size] * 200))
        assert await read(f"http://127.0.0.1:{rig.gateway.port}") == (TEXT, len(PIECES))
        assert rig.gateway.gateway.telemetry.counters.rescues == {"completed": 1}
        assert [row["status"] for row in rig.ledger.ended] == ["failed", "completed"]
        assert rig.ledger.ended[1]["input_tokens"] > INPUT_TOKENS

    rescued(run_rig, scenario, model, apis, how)
