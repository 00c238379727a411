"""The request that goes on: the request as it went to a backend of one dialect, with the text so far at its end.

Only the top level of the body is taken apart; each value goes on as it came. A chat or a message gets the text as the
beginning of its last assistant message, with the flags that the dialect wants; a completion's prompt grows by it. The
ceiling on output tokens shrinks by what has been said.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.api import ApiName
from headrace.wire.body import NOT_JSON, NULL, top_level
from headrace.wire.dialects import Continuation, Dialect, ErrorShape
from headrace.wire.dialects.capability import CAPABILITIES, PREFILL
from headrace.wire.resume.progress import Progress

_CEILINGS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_FLOORS = ("min_tokens",)
_NO_FORM = (b"null", b"[]", b"{}", b'""', b"false")
# Fields that bind the text to a grammar, of any server: vLLM, SGLang, llama.cpp.
_GRAMMARS = (
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
    *("regex", "ebnf", "json_schema", "grammar", "suffix", "echo", "background"),
)
# Fields with which an answer may be a tool call, or begins with reasoning, or may not be shorter.
_NOT_PLAIN = ("tools", "functions", "reasoning_effort", "reasoning", "modalities", "min_tokens", "ignore_eos")
_encode = msgspec.json.encode


def obstacle(body: bytes) -> str:
    """Why an answer to this request of a client cannot be gone on with, whoever would; empty: it can."""
    return _obstacle(top_level(body))


def pause_obstacle(body: bytes, api: ApiName) -> str:
    """Why an answer to this request of a chat or a completion should not be made in two parts; empty: it can.

    Stricter than `obstacle`: nothing is lost yet. So whatever may lead to another answer than plain text counts, too.
    """
    fields = top_level(body)
    for name in _NOT_PLAIN:
        if bytes(fields.get(name, b"null")) not in _NO_FORM:
            return f"the request has {name}"
    if api == "completions" and bytes(fields.get("prompt", b""))[:1] != b'"':
        return "the prompt is no text"
    if api == "chat" and not _asked_by_user(fields):
        return "the last message is not the user's"
    return _obstacle(fields)


def _asked_by_user(fields: dict[str, Raw]) -> bool:
    try:
        messages = msgspec.json.decode(fields.get("messages", NULL), type=list[dict[str, Raw]])
    except NOT_JSON:
        return False
    return bool(messages) and bytes(messages[-1].get("role", b"")) == b'"user"'


def _obstacle(fields: dict[str, Raw]) -> str:
    for capability in ("choices", "logprobs"):
        name = CAPABILITIES[capability](fields)
        if name is not None:
            return f"the request has {name}"
    for name in _GRAMMARS:
        if bytes(fields.get(name, b"null")) not in _NO_FORM:
            return f"the request has {name}"
    if bytes(fields.get("best_of", b"1")) not in (b"1", b"null"):
        return "the request has best_of"
    return next(
        (f"the request has {name}" for name in ("response_format", "text", "output_config") if _bound(fields, name)), ""
    )


def _bound(fields: dict[str, Raw], name: str) -> bool:
    """Whether a field says what form the text must have."""
    try:
        value: Any = msgspec.json.decode(fields.get(name, NULL))
    except NOT_JSON:
        return True
    form = value.get("format", value if name == "response_format" else None) if isinstance(value, dict) else None
    return isinstance(form, dict) and form.get("type") not in (None, "text")


def takes_over(dialect: Dialect, api: ApiName, lacks: tuple[str, ...]) -> bool:
    """Whether backends of this dialect can go on with a text by this API."""
    if api == "completions":
        return dialect.path(api) is not None
    if dialect.path(api) is None or PREFILL in lacks:
        return False
    if api == "chat":
        return dialect.continuation in (Continuation.TRAILING_ASSISTANT, Continuation.CONTINUE_FLAG)
    return api == "messages" and dialect.continuation is Continuation.TRAILING_ASSISTANT


def continued(body: bytes, api: ApiName, dialect: Dialect, progress: Progress) -> tuple[bytes, str]:
    """The body of the request that goes on, and the white space at the end of the text that had to be left out of it.

    Args:
        body: the request as it would go to a backend of this dialect, by this API.

    Raises:
        RequestError: it cannot be said this way.
    """
    fields = top_level(body)
    text, trimmed = progress.text, ""
    for name in _CEILINGS:
        _lower(fields, name, progress.tokens, 1)
    for name in _FLOORS:
        _lower(fields, name, progress.tokens, 0)
    if not text:
        return _encode(fields), ""
    if api == "completions":
        fields["prompt"] = _longer_prompt(fields, text)
        return _encode(fields), ""
    if dialect.error_shape is ErrorShape.ANTHROPIC:  # it refuses a last message that ends in white space
        text, trimmed = text.rstrip(), text[len(text.rstrip()) :]
    flagged = dialect.continuation is Continuation.CONTINUE_FLAG
    given = flagged and bytes(fields.get("continue_final_message", b"false")) == b"true"
    extra = {} if dialect.past_reasoning is None else {dialect.past_reasoning: progress.reasoning}
    fields["messages"] = _longer_messages(fields, text, extra, merges=given or not flagged)
    if flagged:
        fields["continue_final_message"], fields["add_generation_prompt"] = Raw(b"true"), Raw(b"false")
    return _encode(fields), trimmed


def _lower(fields: dict[str, Raw], name: str, by: int, least: int) -> None:
    given = bytes(fields.get(name, b""))
    if given.isdigit():
        fields[name] = Raw(b"%d" % max(int(given) - by, least))


def _longer_prompt(fields: dict[str, Raw], text: str) -> Raw:
    prompt = msgspec.json.decode(fields.get("prompt", NULL))
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RequestError("prompt: only a prompt of text can be gone on with", "prompt")
    return Raw(_encode(prompt + text))


def _longer_messages(fields: dict[str, Raw], text: str, extra: dict[str, str], *, merges: bool) -> Raw:
    """The messages with the text as the assistant's last words.

    Args:
        merges: a last message of the assistant's in the request was itself the beginning of the answer.
    """
    messages: list[Any] = msgspec.json.decode(fields.get("messages", NULL), type=list[dict[str, Raw]])
    last = messages[-1] if messages else {}
    if bytes(last.get("role", b"")) != b'"assistant"':
        said = {name: value for name, value in extra.items() if value}
        return Raw(_encode([*messages, {"role": "assistant", "content": text, **said}]))
    content: Any = msgspec.json.decode(last.get("content", NULL))
    if not merges or "tool_calls" in last or not isinstance(content, str | list):
        raise RequestError("messages: the last one is the assistant's, and not the beginning of the answer", "messages")
    longer = content + text if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return Raw(_encode([*messages[:-1], {**last, "content": longer}]))
