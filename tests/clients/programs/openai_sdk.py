"""OpenAI's SDK for Python: what a program sees of headrace. Arguments: the URL, the models."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
from pydantic import BaseModel

URL, *MODELS = sys.argv[1:]
QUESTION: Any = [{"role": "user", "content": "Which word?"}]
PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
FUNCTION = {"name": "look_up", "parameters": PARAMETERS}
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="client-key", max_retries=0)


class Word(BaseModel):
    word: str


def chat() -> dict[str, Any]:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, stream_options=options)  # type: ignore[call-overload]
    )
    parsed = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Word)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    return {
        "chat": whole.choices[0].message.content,
        "chat usage": whole.usage.completion_tokens > 0,
        "chat stream": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "chat stream usage": chunks[-1].usage.completion_tokens == whole.usage.completion_tokens,
        "chat parsed": parsed.choices[0].message.parsed.word,
        "raw": raw.parse().choices[0].message.content,
        "raw header": raw.headers["x-headrace-backend"],
    }


def chat_tools() -> dict[str, Any]:
    messages, tools = [*QUESTION], [{"type": "function", "function": FUNCTION}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=tools) as stream:
        asked = stream.get_final_completion().choices[0].message
    messages.append(asked.to_dict())
    for call in asked.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "found"})
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
    calls = [(c.function.name, json.loads(c.function.arguments)["word"]) for c in asked.tool_calls]
    return {"chat tools": calls, "chat after tools": answer.choices[0].message.content}


def responses() -> dict[str, Any]:
    whole = client.responses.create(model=MODEL, input="Which word?")
    with client.responses.stream(model=MODEL, input="Which word?") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    parsed = client.responses.parse(model=MODEL, input="Which word?", text_format=Word)
    return {
        "responses": whole.output_text,
        "responses usage": whole.usage.output_tokens > 0,
        "responses stream": deltas,
        "responses final": (final.status, final.output_text),
        "responses parsed": parsed.output_parsed.word,
    }


def responses_tools() -> dict[str, Any]:
    tools: Any = [{"type": "function", "strict": False, **FUNCTION}]
    asked = client.responses.create(model=MODEL, input=QUESTION, tools=tools)
    calls = [item for item in asked.output if item.type == "function_call"]
    found: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "found"} for call in calls]
    answer = client.responses.create(model=MODEL, previous_response_id=asked.id, input=found, tools=tools)
    return {
        "responses tools": [(call.name, json.loads(call.arguments)["word"]) for call in calls],
        "responses after tools": answer.output_text,
    }


def others() -> dict[str, Any]:
    found = {"models": MODEL in {model.id for model in client.models.list()}}
    found["completions"] = client.completions.create(model=MODEL, prompt="Which word?").choices[0].text
    try:
        vectors = client.embeddings.create(model=MODEL, input=["a", "b"]).data
        found["embeddings"] = [len(vector.embedding) for vector in vectors]
    except openai.BadRequestError as error:
        found["embeddings"] = str(error.body)
    try:
        client.chat.completions.create(model="nothing", messages=QUESTION)
    except openai.NotFoundError as error:
        found["unknown model"] = "not served here" in str(error)
    return found


async def in_async() -> dict[str, Any]:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="client-key", max_retries=0) as other:
        stream = await other.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        async with other.responses.stream(model=MODEL, input="Which word?") as events:
            final = await events.get_final_response()
    return {"async chat": text, "async responses": final.output_text}


def broken(fault: str) -> dict[str, Any]:
    other = client.with_options(default_headers={"x-headrace-emulated-fault": f"{fault}@3"})
    found = {}
    try:
        list(other.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))
        found["chat"] = "whole"
    except openai.APIError as error:
        found["chat"] = type(error).__name__
    try:
        with other.responses.stream(model=MODEL, input="Which word?") as stream:
            types = [event.type for event in stream]
        found["responses"] = types[-1]
    except openai.APIError as error:
        found["responses"] = type(error).__name__
    return found


found = {}
for MODEL in MODELS:
    seen = {**chat(), **chat_tools(), **responses(), **responses_tools(), **others(), **asyncio.run(in_async())}
    found[MODEL] = {"seen": seen, "broken": {fault: broken(fault) for fault in ("cut", "polite")}}
print(json.dumps(found))
