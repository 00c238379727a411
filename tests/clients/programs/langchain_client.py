"""LangChain's client for OpenAI's APIs. Arguments: the URL, the models."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL, *MODELS = sys.argv[1:]


class Word(BaseModel):
    word: str


@tool
def look_up(word: str) -> str:
    """Whether there is such a word."""
    return "found"


def model(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{URL}/v1", api_key="client-key", model=MODEL, max_retries=0, **options)


def through(name: str, **options: Any) -> dict[str, Any]:
    plain, turns = model(**options), [HumanMessage("Which word?")]
    tools = plain.bind_tools([look_up])
    asked = tools.invoke(turns)
    turns += [asked, *(ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls)]
    return {
        name: plain.invoke("Which word?").text,
        f"{name} stream": "".join(chunk.text for chunk in plain.stream("Which word?")),
        f"{name} parsed": plain.with_structured_output(Word, method="json_schema").invoke("Which word?").word,
        f"{name} tools": [(call["name"], call["args"]["word"]) for call in asked.tool_calls],
        f"{name} after tools": tools.invoke(turns).text,
    }


def broken(fault: str, **options: Any) -> str:
    other = model(default_headers={"x-headrace-emulated-fault": f"{fault}@3"}, **options)
    try:
        list(other.stream("Which word?"))
        return "whole"
    except Exception as error:
        return type(error).__name__


ways: dict[str, dict[str, Any]] = {"chat": {}, "responses": {"use_responses_api": True}}
found = {}
for MODEL in MODELS:
    seen = {key: value for name, options in ways.items() for key, value in through(name, **options).items()}
    noticed = {fault: {name: broken(fault, **options) for name, options in ways.items()} for fault in ("cut", "polite")}
    found[MODEL] = {"seen": seen, "broken": noticed}
print(json.dumps(found))
