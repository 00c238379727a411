"""A request in neutral form: everything that at least two APIs can say, each thing in one place.

What only one API can say stays in `extra` under its own name, as it came. None means that the client did not say it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from headrace.wire.api import ApiName
from headrace.wire.canonical.parts import Turn


class FunctionTool(msgspec.Struct, frozen=True):
    """A tool that takes a JSON object. `parameters` is its JSON Schema."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None


class CustomTool(msgspec.Struct, frozen=True):
    """A tool that takes free text. `format` is the grammar that the text follows, in OpenAI's Responses form."""

    name: str
    description: str | None = None
    format: Raw | None = None


class NamespaceTool(msgspec.Struct, frozen=True):
    """A named group of tools (Responses)."""

    name: str
    description: str | None
    tools: tuple[FunctionTool | CustomTool, ...]


class OpaqueTool(msgspec.Struct, frozen=True):
    """A tool that the provider itself runs, such as its web search; left out elsewhere, and reported."""

    api: str
    kind: str
    raw: Raw


Tool = FunctionTool | CustomTool | NamespaceTool | OpaqueTool


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model may or must call a tool.

    Attributes:
        name: the one tool that it must call.
        allowed: the tools it may choose from; None: all.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    allowed: tuple[str, ...] | None = None


AUTO = ToolChoice()


class ResponseFormat(msgspec.Struct, frozen=True):
    """The form that an answer's text must have. Without a `schema` any JSON object will do."""

    schema: Raw | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, frozen=True):
    """How long the model is to think, and what of it the client sees.

    Attributes:
        effort: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
        summary: `auto`, `concise` or `detailed`: summaries are asked for.
        budget_tokens: ceiling of reasoning tokens (Messages).
        sealed: the client asks for sealed reasoning that it can send back.
    """

    effort: str | None = None
    summary: str | None = None
    budget_tokens: int | None = None
    sealed: bool = False


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are drawn."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Raw | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a client, whatever API it used.

    Attributes:
        api: the API it came in by; `extra` holds fields of that API.
        turns: the conversation, instructions first, in normal form (see `parts`).
        prompts: text or token ids to be continued without a chat template; completions only, `turns` is then empty.
        include_usage: a stream is to end with a usage chunk (chat and completions; elsewhere usage is always there).
        previous_response_id: the conversation goes on from a stored answer (Responses).
        user: the end user, hashed by the client: `user` or `metadata.user_id`.
    """

    api: ApiName
    model: str
    turns: tuple[Turn, ...] = ()
    prompts: tuple[str | tuple[int, ...], ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: ReasoningOptions = ReasoningOptions()
    sampling: Sampling = Sampling()
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    verbosity: str | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    extra: dict[str, Raw] = {}  # noqa: RUF012: msgspec copies it
