"""OpenAI's own SDK talks to the gateway, which is driven by the real policy engine."""

from __future__ import annotations

from random import Random

import openai
import pytest
from gateway_rig import STREAM, WHOLE, Rig, RunRig, ScriptedBackend, error_response

from headrace.fleet import Fleet
from headrace.policy import PolicyEngine


def real_engine(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, Random(1))


def client_of(rig: Rig) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{rig.gateway.port}/v1", api_key="k", max_retries=0)


def test_chat_with_and_without_a_stream_and_with_usage(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        async with client_of(rig) as client:
            messages = [{"role": "user", "content": "hi"}]
            assert [model.id async for model in client.models.list()] == ["m", "fast-m"]
            whole = await client.chat.completions.create(model="m", messages=messages)
            assert (whole.choices[0].message.content, whole.usage.completion_tokens) == ("hi", 5)
            plain = [c async for c in await client.chat.completions.create(model="m", messages=messages, stream=True)]
            assert "".join(c.choices[0].delta.content or "" for c in plain) == " t0 t1 t2 t3 t4"
            options = {"include_usage": True}
            asked = [
                c
                async for c in await client.chat.completions.create(
                    model="m", messages=messages, stream=True, stream_options=options
                )
            ]
            assert asked[-1].choices == []
            assert asked[-1].usage.prompt_tokens == 12

    run_rig(scenario, ScriptedBackend(WHOLE, STREAM), engine_for=real_engine)


def test_errors_arrive_as_the_sdks_own_exceptions(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        async with client_of(rig) as client:
            messages = [{"role": "user", "content": "hi"}]
            with pytest.raises(openai.NotFoundError, match="not served here"):
                await client.chat.completions.create(model="nothing", messages=messages)
            with pytest.raises(openai.BadRequestError, match="theirs"):
                await client.chat.completions.create(model="m", messages=messages)
            with pytest.raises(openai.InternalServerError, match="no backend can answer"):
                await client.chat.completions.create(model="m", messages=messages)

    run_rig(scenario, ScriptedBackend(error_response(400), error_response(500)), engine_for=real_engine)


def test_a_cut_stream_is_an_error_for_the_sdk(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        async with client_of(rig) as client:
            with pytest.raises(openai.APIError, match="ended before its answer did"):
                async for _ in await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hi"}], stream=True
                ):
                    pass

    async def cut(reader: object, writer: object) -> None:
        writer.write(STREAM[: len(STREAM) // 2])  # type: ignore[attr-defined]

    run_rig(scenario, ScriptedBackend(cut), engine_for=real_engine)
