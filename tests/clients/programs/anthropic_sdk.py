"""Anthropic's SDK for Python: what a program sees of headrace. Arguments: the URL, the models."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import anthropic

URL, *MODELS = sys.argv[1:]
QUESTION: Any = [{"role": "user", "content": "Which word?"}]
SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
client = anthropic.Anthropic(base_url=URL, api_key="client-key", max_retries=0)


def asked(**more: Any) -> Any:
    return {"model": MODEL, "max_tokens": 200, "messages": QUESTION, **more}


def messages() -> dict[str, Any]:
    whole = client.messages.create(**asked())
    with client.messages.stream(**asked()) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    raw = client.messages.with_raw_response.create(**asked())
    return {
        "messages": whole.content[0].text,
        "usage": whole.usage.output_tokens > 0,
        "stop reason": final.stop_reason,
        "messages stream": text,
        "raw header": raw.headers["x-headrace-backend"],
    }


def tools() -> dict[str, Any]:
    options = {"tools": [{"name": "look_up", "input_schema": SCHEMA}]}
    with client.messages.stream(**asked(**options)) as stream:
        answer = stream.get_final_message()
    calls = [block for block in answer.content if block.type == "tool_use"]
    found = [{"type": "tool_result", "tool_use_id": call.id, "content": "found"} for call in calls]
    turns = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": found}]
    after = client.messages.create(**asked(messages=turns, **options))
    return {"tools": [(c.name, c.input["word"]) for c in calls], "after tools": after.content[0].text}


def others() -> dict[str, Any]:
    count = client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens
    found: dict[str, Any] = {"models": MODEL in {model.id for model in client.models.list()}, "count": count > 0}
    try:
        client.messages.create(**asked(model="nothing"))
    except anthropic.NotFoundError as error:
        found["unknown model"] = "not served here" in str(error)
    return found


async def in_async() -> dict[str, Any]:
    other = anthropic.AsyncAnthropic(base_url=URL, api_key="client-key", max_retries=0)
    async with other, other.messages.stream(**asked()) as stream:
        return {"async": await stream.get_final_text()}


def broken(fault: str) -> dict[str, Any]:
    other = client.with_options(default_headers={"x-headrace-emulated-fault": f"{fault}@3"})
    try:
        with other.messages.stream(**asked()) as stream:
            return {"messages": stream.get_final_message().stop_reason}
    except Exception as error:
        return {"messages": type(error).__name__}


found = {}
for MODEL in MODELS:
    seen = {**messages(), **tools(), **others(), **asyncio.run(in_async())}
    found[MODEL] = {"seen": seen, "broken": {fault: broken(fault) for fault in ("cut", "polite")}}
print(json.dumps(found))
