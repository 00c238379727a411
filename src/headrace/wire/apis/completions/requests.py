"""Completion requests, both ways.

A completion has a prompt, not a conversation. A conversation of one user's text is near enough to a prompt; anything
more would need the chat template that only the model server has, and is refused.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.api import Accepts, Outgoing, Report
from headrace.wire.apis.chat.read_request import read_stop
from headrace.wire.apis.tool_names import PLAIN
from headrace.wire.body import NULL, decode_body, top_level
from headrace.wire.canonical import Request, Sampling, Text
from headrace.wire.head import StreamOptions

_encode = msgspec.json.Encoder().encode


class WireRequest(msgspec.Struct):
    """The fields of a request that are read, as they are decoded."""

    model: str
    prompt: Raw = NULL
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    logprobs: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


_requests = msgspec.json.Decoder(WireRequest)
_prompts = msgspec.json.Decoder(str | list[str | int | list[int]] | None)
_KNOWN = frozenset(WireRequest.__struct_fields__)


def read_request(body: bytes) -> Request:
    """A completion request in neutral form.

    Raises:
        RequestError: it is none; `param` names the field.
    """
    fields = top_level(body)
    wire = decode_body(_requests, body, "a completion request")
    sampling = Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        seed=wire.seed,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        logit_bias=None if wire.logit_bias is None else fields["logit_bias"],
    )
    return Request(
        api="completions",
        model=wire.model,
        prompts=_read_prompts(wire.prompt),
        sampling=sampling,
        max_output_tokens=wire.max_tokens,
        stop=read_stop(wire.stop),
        n=1 if wire.n is None else wire.n,
        logprobs=wire.logprobs is not None,
        top_logprobs=wire.logprobs,
        stream=bool(wire.stream),
        include_usage=wire.stream_options is not None and bool(wire.stream_options.include_usage),
        user=wire.user,
        extra={name: value for name, value in fields.items() if name not in _KNOWN and _says(value)},
    )


def _says(value: Raw) -> bool:
    """Whether a field says anything: null and false are what it is without."""
    return bytes(value) not in (b"null", b"false")


def _read_prompts(raw: Raw) -> tuple[str | tuple[int, ...], ...]:
    prompt = decode_body(_prompts, raw, "a prompt", "prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if prompt and all(isinstance(piece, int) for piece in prompt):
        return (tuple(piece for piece in prompt if isinstance(piece, int)),)
    if not prompt or any(isinstance(piece, int) for piece in prompt):
        raise RequestError("prompt: send text, token ids, or a list of either", "prompt")
    return tuple(tuple(piece) if isinstance(piece, list) else str(piece) for piece in prompt)


def write_request(request: Request, accepts: Accepts) -> Outgoing:
    """The request as a completions backend takes it.

    Raises:
        RequestError: it is more than a prompt; `param` names the field.
    """
    report = Report(request, "completions")
    _refuse(request, report)
    prompts = request.prompts or (_prompt(request, report),)
    sampling, reasoning = request.sampling, request.reasoning
    report.drop("effort", reasoning.effort)
    report.drop("summary", reasoning.summary)
    report.drop("budget_tokens", reasoning.budget_tokens)
    report.drop("sealed", reasoning.sealed and request.api == "responses")  # Messages seals all reasoning
    for field in ("verbosity", "metadata", "service_tier", "prompt_cache_key", "store"):
        report.drop(field, getattr(request, field))
    options = {
        "max_tokens": request.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": sampling.logit_bias,
        "stop": list(request.stop) or None,
        "n": None if request.n == 1 else request.n,
        "logprobs": (request.top_logprobs or 0) if request.logprobs else None,
        "user": request.user,
        "stream": request.stream or None,
        "stream_options": {"include_usage": True} if request.stream else None,
    }
    wire: dict[str, Any] = {"model": request.model, "prompt": prompts[0] if len(prompts) == 1 else prompts}
    wire.update((name, value) for name, value in options.items() if value is not None)
    wire.update(report.extras(accepts))
    return Outgoing(_encode(wire), PLAIN, tuple(report.dropped), tuple(report.approximated))


def _refuse(request: Request, report: Report) -> None:
    report.refuse("previous_response_id", request.previous_response_id, "a completion has no conversation")
    report.refuse("tools", request.tools, "a completion has no tools")
    report.refuse("response_format", request.response_format, "a completion has no form")


def _prompt(request: Request, report: Report) -> str:
    turns = request.turns
    plain = len(turns) == 1 and turns[0].role == "user" and len(turns[0].parts) == 1
    part = turns[0].parts[0] if plain else None
    if isinstance(part, Text):
        report.approximate("turns")
        return part.text
    report.refuse("turns", True, "a completion has one prompt and no conversation")
    return ""
