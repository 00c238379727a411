"""How each API spells the fields that have a neutral name, where it is not the neutral name itself."""

from __future__ import annotations

from headrace.wire.api import ApiName

SPELLING: dict[ApiName, dict[str, str]] = {
    "chat": {
        "turns": "messages",
        "max_output_tokens": "max_completion_tokens",
        "effort": "reasoning_effort",
    },
    "completions": {"prompts": "prompt", "max_output_tokens": "max_tokens"},
    "responses": {
        "turns": "input",
        "response_format": "text.format",
        "verbosity": "text.verbosity",
        "effort": "reasoning.effort",
        "summary": "reasoning.summary",
        "sealed": "include",
    },
    "messages": {
        "turns": "messages",
        "max_output_tokens": "max_tokens",
        "stop": "stop_sequences",
        "response_format": "output_config.format",
        "effort": "output_config.effort",
        "summary": "thinking.display",
        "budget_tokens": "thinking.budget_tokens",
        "user": "metadata.user_id",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    },
}
