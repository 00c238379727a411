"""OpenAI's agents SDK: an agent that calls a tool, over Responses and over chat. Arguments: the URL, the models."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

URL, *MODELS = sys.argv[1:]
WAYS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
looked: list[str] = []


@function_tool
def look_up(word: str) -> str:
    """Whether there is such a word."""
    looked.append(word)
    return "found"


def agent(name: str, **headers: str) -> Agent[Any]:
    settings = ModelSettings(extra_headers=headers)
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="client-key", max_retries=0)
    model = WAYS[name](MODEL, client)
    return Agent("A", instructions="Look it up.", model=model, tools=[look_up], model_settings=settings)


async def through(name: str) -> dict[str, Any]:
    looked.clear()
    whole = await Runner.run(agent(name), "Which word?")
    stream = Runner.run_streamed(agent(name), "Which word?")
    kinds = {event.type async for event in stream.stream_events()}
    found = {name: whole.final_output, f"{name} stream": stream.final_output, f"{name} looked up": list(looked)}
    return found | {f"{name} events": sorted(kinds)}


async def broken(name: str, fault: str) -> str:
    stream = Runner.run_streamed(agent(name, **{"x-headrace-emulated-fault": f"{fault}@3"}), "Which word?")
    try:
        async for _ in stream.stream_events():
            pass
        return "whole"
    except Exception as error:
        return type(error).__name__


async def all_of_it() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name in WAYS:
        seen |= await through(name)
    return {"seen": seen, "broken": {f: {name: await broken(name, f) for name in WAYS} for f in ("cut", "polite")}}


set_tracing_disabled(True)
found = {}
for MODEL in MODELS:
    found[MODEL] = asyncio.run(all_of_it())
print(json.dumps(found))
