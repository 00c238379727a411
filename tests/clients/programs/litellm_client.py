"""LiteLLM as a client: chat, Responses and Messages. Arguments: the URL, the models."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no look-up of prices at its home

import litellm

URL, *MODELS = sys.argv[1:]
QUESTION: Any = [{"role": "user", "content": "Which word?"}]
PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS}}]
WAYS = {"chat": ("openai", f"{URL}/v1"), "messages": ("anthropic", URL)}
litellm.suppress_debug_info = True


def options_of(name: str) -> dict[str, Any]:
    provider, url = WAYS[name]
    return {"model": f"{provider}/{MODEL}", "api_base": url, "api_key": "client-key", "num_retries": 0}


def text_of(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def through(name: str) -> dict[str, Any]:
    options: Any = {**options_of(name), "messages": QUESTION}
    asked = litellm.completion(**options, tools=TOOLS).choices[0].message
    found = [{"role": "tool", "tool_call_id": call.id, "content": "found"} for call in asked.tool_calls]
    turns = [*QUESTION, asked.model_dump(), *found]
    return {
        name: litellm.completion(**options).choices[0].message.content,
        f"{name} stream": text_of(litellm.completion(**options, stream=True)),
        f"{name} tools": [(c.function.name, json.loads(c.function.arguments)["word"]) for c in asked.tool_calls],
        f"{name} after tools": litellm.completion(**{**options, "messages": turns}, tools=TOOLS)
        .choices[0]
        .message.content,
    }


def others() -> dict[str, Any]:
    answer = litellm.responses(input="Which word?", **options_of("chat"))
    found: dict[str, Any] = {"responses": answer.output[-1].content[0].text}
    try:
        vectors = litellm.embedding(input=["a", "b"], **options_of("chat")).data
        found["embeddings"] = [len(vector["embedding"]) for vector in vectors]
    except litellm.BadRequestError as error:
        found["embeddings"] = str(error)
    return found


def broken(name: str, fault: str) -> str:
    headers = {"x-headrace-emulated-fault": f"{fault}@3"}
    try:
        text_of(litellm.completion(**options_of(name), messages=QUESTION, stream=True, extra_headers=headers))
        return "whole"
    except Exception as error:
        return type(error).__name__


found = {}
for MODEL in MODELS:
    seen = {key: value for name in WAYS for key, value in through(name).items()} | others()
    found[MODEL] = {"seen": seen, "broken": {f: {name: broken(name, f) for name in WAYS} for f in ("cut", "polite")}}
print(json.dumps(found))
