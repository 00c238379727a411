"""SDKs and frameworks as programs use them, over a backend of their own API and over two that need translation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import BROKEN, ONLY_CHAT, ONLY_MESSAGES, PASSED, Client, Served
from words import AFTER, CALLS, SCRIPT, TEXT, WORD

BACKENDS = {PASSED: "every-api", ONLY_CHAT: "only-chat", ONLY_MESSAGES: "only-messages"}
EMBEDDINGS = {PASSED: [8, 8], ONLY_CHAT: "Cerebras does not offer", ONLY_MESSAGES: "Anthropic does not offer"}


def program(
    running: Served, home: Path, client: str, file: str, *arguments: str
) -> Iterator[tuple[str, dict[str, Any], dict[str, dict[str, str]]]]:
    """For each model, what the program saw, and what it took broken streams for."""
    running.say(*SCRIPT)
    found = Client(client).program(file, *arguments, running.url, *BACKENDS, home=home).json
    for model in BACKENDS:
        assert set(found[model]["broken"]) == set(BROKEN)
        yield model, found[model]["seen"], found[model]["broken"]


def notices(broken: dict[str, dict[str, str]], **errors: str) -> bool:
    """Whether each way of breaking is this error, in each API."""
    return all(each == errors for each in broken.values())


def embeds(seen: Any, model: str) -> bool:
    """Vectors where there are any, and else the reason."""
    expected, found = EMBEDDINGS[model], seen.pop("embeddings")
    return bool(found == expected if isinstance(expected, list) else expected in found)


def test_openai_python(running: Served, home: Path) -> None:
    for model, seen, broken in program(running, home, "openai-python", "openai_sdk.py"):
        assert embeds(seen, model)
        texts = ("chat", "chat stream", "raw", "responses", "responses stream", "async chat", "async responses")
        assert seen == {
            **dict.fromkeys((*texts, "completions"), TEXT),
            **dict.fromkeys(("chat parsed", "responses parsed"), WORD),
            **dict.fromkeys(("chat tools", "responses tools"), CALLS),
            **dict.fromkeys(("chat after tools", "responses after tools"), AFTER),
            **dict.fromkeys(("chat usage", "chat stream usage", "responses usage", "models", "unknown model"), True),
            "responses final": ["completed", TEXT],
            "raw header": BACKENDS[model],
        }
        assert notices(broken, chat="APIError", responses="APIError")


def test_openai_node(running: Served, home: Path) -> None:
    for model, seen, broken in program(running, home, "openai-node", "openai_sdk.mjs"):
        assert embeds(seen, model)
        assert seen == {
            **dict.fromkeys(("chat", "chat stream", "chat parsed", "responses", "responses stream"), TEXT),
            **dict.fromkeys(("chat tools", "responses tools"), CALLS),
            **dict.fromkeys(("chat after tools", "responses after tools"), AFTER),
            "models": True,
            "raw header": BACKENDS[model],
        }
        assert notices(broken, chat="APIError", responses="APIError")


def test_anthropic(running: Served, home: Path) -> None:
    for model, seen, broken in program(running, home, "anthropic", "anthropic_sdk.py"):
        assert seen == {
            **dict.fromkeys(("messages", "messages stream", "async"), TEXT),
            **dict.fromkeys(("usage", "models", "count", "unknown model"), True),
            "stop reason": "end_turn",
            "tools": CALLS,
            "after tools": AFTER,
            "raw header": BACKENDS[model],
        }
        assert notices(broken, messages="APIStatusError")


@pytest.mark.parametrize("name", ["cerebras", "groq"])
def test_sdks_of_providers(running: Served, home: Path, name: str) -> None:
    for model, seen, broken in program(running, home, name, "chat_sdk.py", name):
        # The SDK of Cerebras reads no calls in pieces but those that Cerebras and headrace itself write.
        calls_passed = name == "cerebras" and model == PASSED
        streamed = "'dict' object has no attribute 'tool_calls'" if calls_passed else [word for _, word in CALLS]
        assert seen == {
            **dict.fromkeys(("chat", "chat stream", "async"), TEXT),
            "usage": True,
            "tools": CALLS,
            "tools stream": streamed,
            "after tools": AFTER,
            "raw header": BACKENDS[model],
        }
        assert notices(broken, chat="APIStatusError" if name == "cerebras" else "APIError")


def test_langchain(running: Served, home: Path) -> None:
    for _, seen, broken in program(running, home, "langchain", "langchain_client.py"):
        for name in ("chat", "responses"):
            assert {key: value for key, value in seen.items() if key.startswith(name)} == {
                **dict.fromkeys((name, f"{name} stream"), TEXT),
                f"{name} parsed": WORD,
                f"{name} tools": CALLS,
                f"{name} after tools": AFTER,
            }
        assert notices(broken, chat="APIError", responses="ValueError")


def test_openai_agents(running: Served, home: Path) -> None:
    for _, seen, broken in program(running, home, "openai-agents", "openai_agents.py"):
        looked_up = [word for _, word in CALLS] * 2  # once in whole, once in a stream
        for name in ("chat", "responses"):
            assert (seen[name], seen[f"{name} stream"]) == (AFTER, AFTER)
            assert sorted(seen[f"{name} looked up"]) == sorted(looked_up)
        assert notices(broken, chat="APIError", responses="ModelBehaviorError")


def test_litellm(running: Served, home: Path) -> None:
    for model, seen, broken in program(running, home, "litellm", "litellm_client.py"):
        assert embeds(seen, model)
        texts = ("chat", "chat stream", "messages", "messages stream", "responses")
        assert seen == {
            **dict.fromkeys(texts, TEXT),
            **dict.fromkeys(("chat tools", "messages tools"), CALLS),
            **dict.fromkeys(("chat after tools", "messages after tools"), AFTER),
        }
        assert notices(broken, chat="MidStreamFallbackError", messages="MidStreamFallbackError")


def test_without_a_gateway_a_polite_end_is_taken_for_a_whole_answer(running: Served, home: Path) -> None:
    """What all of the above would be worth nothing without: the fault is one that a client does not see by itself."""
    running.say(*SCRIPT)
    url = running.backends["only-chat"]
    found = Client("cerebras").program("chat_sdk.py", "cerebras", url, ONLY_CHAT, home=home).json
    assert found[ONLY_CHAT]["broken"]["polite"] == {"chat": "whole"}
