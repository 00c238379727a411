"""One request for every field that a client's API knows: what becomes of it at a backend of another API?

`BASES` is the least request of each API; a probe changes it in one place. The table in `docs/apis.md` is made from
these.
"""

from __future__ import annotations

import json
from typing import Any

from headrace.wire.apis import ApiName

_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
_GRAMMAR = {"syntax": "lark", "definition": "start: /.+/"}
_PNG = "data:image/png;base64,iVBORw0KGgo="
_URL = "https://example.com/a.png"

BASES: dict[ApiName, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "completions": {"model": "m", "prompt": "hi"},
    "responses": {"model": "m", "input": [{"role": "user", "content": "hi"}]},
    "messages": {"model": "m", "max_tokens": 90, "messages": [{"role": "user", "content": "hi"}]},
}


def _chat_turns(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, *messages]}


def _chat_function(**more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "description": "F.", "parameters": _SCHEMA, **more}}


def _chat_call(**call: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", **call}]}


_CHAT_CUSTOM = {"type": "custom", "custom": {"name": "apply_patch", "format": {"type": "grammar", "grammar": _GRAMMAR}}}
_CHAT_CALL = _chat_call(type="function", function={"name": "f", "arguments": '{"a":"b"}'})
_CHAT_CUSTOM_CALL = _chat_call(type="custom", custom={"name": "apply_patch", "input": "*** Begin"})
_CHAT_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "done"}

CHAT: dict[str, dict[str, Any]] = {
    "system message": {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]},
    "developer message": {"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "hi"}]},
    "system message later": _chat_turns({"role": "assistant", "content": "yo"}, {"role": "system", "content": "s"}),
    "`name` of a message": {"messages": [{"role": "user", "content": "hi", "name": "ann"}]},
    "image, inline": _chat_turns({"role": "user", "content": [{"type": "image_url", "image_url": {"url": _PNG}}]}),
    "image, URL": _chat_turns({"role": "user", "content": [{"type": "image_url", "image_url": {"url": _URL}}]}),
    "image `detail`": _chat_turns(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}}]}
    ),
    "file, inline": _chat_turns(
        {
            "role": "user",
            "content": [
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}
            ],
        }
    ),
    "file id": _chat_turns({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
    "audio": _chat_turns(
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}
    ),
    "past tool call and result": _chat_turns(_CHAT_CALL, _CHAT_RESULT),
    "past custom tool call": _chat_turns(_CHAT_CUSTOM_CALL, _CHAT_RESULT),
    "past reasoning": _chat_turns({"role": "assistant", "content": "yo", "reasoning_content": "hm"}),
    "past refusal": _chat_turns({"role": "assistant", "content": None, "refusal": "no"}),
    "function tools": {"tools": [_chat_function()]},
    "`strict` function": {"tools": [_chat_function(strict=True)]},
    "custom tools": {"tools": [_CHAT_CUSTOM]},
    "tool_choice: required": {"tools": [_chat_function()], "tool_choice": "required"},
    "tool_choice: none": {"tools": [_chat_function()], "tool_choice": "none"},
    "tool_choice: a function": {
        "tools": [_chat_function()],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    },
    "tool_choice: allowed_tools": {
        "tools": [_chat_function()],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    },
    "parallel_tool_calls: false": {"tools": [_chat_function()], "parallel_tool_calls": False},
    "response_format: json_schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMA, "strict": True}}
    },
    "response_format: json_object": {"response_format": {"type": "json_object"}},
    "reasoning_effort": {"reasoning_effort": "high"},
    "reasoning_effort: none": {"reasoning_effort": "none"},
    "reasoning_effort: minimal": {"reasoning_effort": "minimal"},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "seed": {"seed": 1},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "max_completion_tokens": {"max_completion_tokens": 50},
    "max_tokens": {"max_tokens": 50},
    "stop": {"stop": ["x"]},
    "n": {"n": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "metadata": {"metadata": {"a": "b"}},
    "user": {"user": "u"},
    "service_tier: auto": {"service_tier": "auto"},
    "service_tier: flex": {"service_tier": "flex"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "store": {"store": True},
    "verbosity": {"verbosity": "low"},
    "stream": {"stream": True},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "audio output": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "web_search_options": {"web_search_options": {}},
    "fields of one server": {"chat_template_kwargs": {"x": 1}},
}

COMPLETIONS: dict[str, dict[str, Any]] = {
    "one prompt": {},
    "several prompts": {"prompt": ["a", "b"]},
    "token ids": {"prompt": [1, 2]},
    "suffix": {"suffix": "x"},
    "echo": {"echo": True},
    "best_of": {"best_of": 3},
    "max_tokens": {"max_tokens": 50},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "seed": {"seed": 1},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "stop": {"stop": "x"},
    "n": {"n": 2},
    "logprobs": {"logprobs": 2},
    "user": {"user": "u"},
    "stream": {"stream": True},
}


def _input(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "hi"}, *items]}


def _function(**more: Any) -> dict[str, Any]:
    return {"type": "function", "name": "f", "description": "F.", "parameters": _SCHEMA, "strict": False, **more}


_CUSTOM = {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", **_GRAMMAR}}
_CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":"b"}'}
_OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
_CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"}
_CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}
_SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "x"},
}
_YO = {"role": "assistant", "content": "yo"}

RESPONSES: dict[str, dict[str, Any]] = {
    "instructions": {"instructions": "s"},
    "input as text": {"input": "hi"},
    "developer message": _input({"type": "message", "role": "developer", "content": "s"}),
    "image": _input({"role": "user", "content": [{"type": "input_image", "image_url": _PNG, "detail": "low"}]}),
    "image by file id": _input(
        {"role": "user", "content": [{"type": "input_image", "file_id": "f", "detail": "auto"}]}
    ),
    "file, inline": _input(
        {
            "role": "user",
            "content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}],
        }
    ),
    "file, URL": _input({"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}),
    "past function call and output": _input(_CALL, _OUTPUT),
    "past output with an image": _input(
        _CALL, _OUTPUT | {"output": [{"type": "input_image", "image_url": _PNG, "detail": "auto"}]}
    ),
    "past custom tool call and output": _input(_CUSTOM_CALL, _CUSTOM_OUTPUT),
    "past message, as Codex sends it": _input(
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yo"}]}
    ),
    "past reasoning, sealed": _input(
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}, _YO
    ),
    "past reasoning, text": _input(
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}, _YO
    ),
    "past reasoning, summary": _input(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}, _YO
    ),
    "past web_search_call": _input(_SEARCH, _YO),
    "item_reference": _input({"type": "item_reference", "id": "msg_1"}),
    "compaction item": _input({"type": "compaction", "id": "c", "encrypted_content": "gAAA"}),
    "function tools": {"tools": [_function()]},
    "`strict` function": {"tools": [_function(strict=True)]},
    "custom tools": {"tools": [_CUSTOM]},
    "namespaces of tools": {
        "tools": [{"type": "namespace", "name": "files", "description": "Files.", "tools": [_function()]}]
    },
    "tools in an item of the input": _input({"type": "additional_tools", "role": "developer", "tools": [_function()]}),
    "web_search tool": {"tools": [{"type": "web_search"}, _function()]},
    "tool_choice: required": {"tools": [_function()], "tool_choice": "required"},
    "tool_choice: a function": {"tools": [_function()], "tool_choice": {"type": "function", "name": "f"}},
    "tool_choice: allowed_tools": {
        "tools": [_function()],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    },
    "tool_choice: the provider's tool": {"tools": [_function()], "tool_choice": {"type": "file_search"}},
    "parallel_tool_calls: false": {"tools": [_function()], "parallel_tool_calls": False},
    "text.format: json_schema": {
        "text": {"format": {"type": "json_schema", "name": "x", "schema": _SCHEMA, "strict": True}}
    },
    "text.format: json_object": {"text": {"format": {"type": "json_object"}}},
    "text.verbosity": {"text": {"verbosity": "low"}},
    "reasoning.effort": {"reasoning": {"effort": "high"}},
    "reasoning.summary": {"reasoning": {"summary": "auto"}},
    "include: sealed reasoning": {"include": ["reasoning.encrypted_content"]},
    "include: logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "max_output_tokens": {"max_output_tokens": 50},
    "max_tool_calls": {"max_tool_calls": 5},
    "metadata": {"metadata": {"a": "b"}},
    "user": {"user": "u"},
    "safety_identifier": {"safety_identifier": "u"},
    "service_tier: flex": {"service_tier": "flex"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "store": {"store": True},
    "previous_response_id": {"previous_response_id": "resp_1"},
    "conversation": {"conversation": "conv_1"},
    "prompt (a template)": {"prompt": {"id": "pmpt_1"}},
    "background": {"background": True},
    "truncation": {"truncation": "auto"},
    "stream": {"stream": True},
}


def _turns(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, *messages]}


_TOOL = {"name": "f", "description": "F.", "input_schema": _SCHEMA}
_USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "b"}}]}


def _result(**more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done", **more}]}


_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}

MESSAGES: dict[str, dict[str, Any]] = {
    "system": {"system": "s"},
    "system, several blocks": {"system": [{"type": "text", "text": "s"}, {"type": "text", "text": "t"}]},
    "system inside messages": _turns({"role": "assistant", "content": "yo"}, {"role": "system", "content": "s"}),
    "image, inline": _turns({"role": "user", "content": [_IMAGE]}),
    "image, URL": _turns({"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": _URL}}]}),
    "document": _turns(
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                    "title": "a.pdf",
                }
            ],
        }
    ),
    "past tool_use and tool_result": _turns(_USE, _result()),
    "tool_result with is_error": _turns(_USE, _result(is_error=True)),
    "tool_result with an image": _turns(_USE, _result(content=[{"type": "text", "text": "see"}, _IMAGE])),
    "past thinking, signed": _turns(
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm", "signature": "EqQB"}, {"type": "text", "text": "yo"}],
        }
    ),
    "past redacted_thinking": _turns(
        {
            "role": "assistant",
            "content": [{"type": "redacted_thinking", "data": "EqQB"}, {"type": "text", "text": "yo"}],
        }
    ),
    "past server_tool_use": _turns(
        {
            "role": "assistant",
            "content": [
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                {"type": "text", "text": "yo"},
            ],
        }
    ),
    "tools": {"tools": [_TOOL]},
    "web_search tool": {"tools": [{"type": "web_search_20250305", "name": "web_search"}, _TOOL]},
    "tool_choice: any": {"tools": [_TOOL], "tool_choice": {"type": "any"}},
    "tool_choice: none": {"tools": [_TOOL], "tool_choice": {"type": "none"}},
    "tool_choice: a tool": {"tools": [_TOOL], "tool_choice": {"type": "tool", "name": "f"}},
    "disable_parallel_tool_use": {
        "tools": [_TOOL],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    },
    "output_config.format": {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
    "output_config.effort": {"output_config": {"effort": "high"}},
    "thinking: enabled": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 3000},
    "thinking: adaptive": {"thinking": {"type": "adaptive"}},
    "thinking: disabled": {"thinking": {"type": "disabled"}},
    "thinking.display": {"thinking": {"type": "adaptive", "display": "summarized"}},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "stop_sequences": {"stop_sequences": ["x"]},
    "metadata.user_id": {"metadata": {"user_id": "u"}},
    "service_tier: auto": {"service_tier": "auto"},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]},
    "context_management": {"context_management": {"edits": []}},
    "stream": {"stream": True},
}

PROBES: dict[ApiName, dict[str, dict[str, Any]]] = {
    "chat": CHAT,
    "completions": COMPLETIONS,
    "responses": RESPONSES,
    "messages": MESSAGES,
}


def body(api: ApiName, probe: str) -> bytes:
    return json.dumps(BASES[api] | PROBES[api][probe]).encode()
