"""The SDKs of Cerebras and Groq, which are made alike. Arguments: which, the URL, the models."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

NAME, URL, *MODELS = sys.argv[1:]
PACKAGE, CLIENT = {"cerebras": ("cerebras.cloud.sdk", "Cerebras"), "groq": ("groq", "Groq")}[NAME]
sdk = import_module(PACKAGE)
QUESTION: Any = [{"role": "user", "content": "Which word?"}]
PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS}}]
OPTIONS = {"base_url": URL, "api_key": "client-key", "max_retries": 0}
client = getattr(sdk, CLIENT)(**OPTIONS)


def text_of(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def chat() -> dict[str, Any]:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    return {
        "chat": whole.choices[0].message.content,
        "usage": whole.usage.completion_tokens > 0,
        "chat stream": text_of(client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)),
        "raw header": raw.headers.get("x-headrace-backend"),
    }


def tools() -> dict[str, Any]:
    asked = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS).choices[0].message
    found = [{"role": "tool", "tool_call_id": call.id, "content": "found"} for call in asked.tool_calls]
    turns = [*QUESTION, asked.model_dump(exclude_none=True), *found]
    after = client.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS)
    calls = [(call.function.name, json.loads(call.function.arguments)["word"]) for call in asked.tool_calls]
    return {"tools": calls, "after tools": after.choices[0].message.content}


def streamed_tools() -> dict[str, Any]:
    calls: dict[int, str] = {}
    try:
        for chunk in client.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS, stream=True):
            for call in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
                calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    except AttributeError as error:
        return {"tools stream": str(error)}
    return {"tools stream": [json.loads(text)["word"] for text in calls.values()]}


async def in_async() -> dict[str, Any]:
    async with getattr(sdk, f"Async{CLIENT}")(**OPTIONS) as other:
        stream = await other.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        return {"async": text_of([chunk async for chunk in stream])}


def broken(fault: str) -> dict[str, Any]:
    other = client.with_options(default_headers={"x-headrace-emulated-fault": f"{fault}@3"})
    try:
        text_of(other.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))
        return {"chat": "whole"}
    except Exception as error:
        return {"chat": type(error).__name__}


found = {}
for MODEL in MODELS:
    seen = {**chat(), **tools(), **streamed_tools(), **asyncio.run(in_async())}
    found[MODEL] = {"seen": seen, "broken": {fault: broken(fault) for fault in ("cut", "polite")}}
print(json.dumps(found))
