"""Every provider's error, in its own shape, is one of eight kinds; bodies are spelled out as providers send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire import BackendFault, ErrorKind, client_error, read_error, stream_error
from headrace.wire.dialects import DIALECTS, Dialect, ErrorRow
from headrace.wire.dialects.render import error_headers, render_error, render_stream_error

NOON_UNIX_S = 1_795_348_800.0
K = ErrorKind


def flat(message: str, type_: str | None = None, code: str | None = None, param: str | None = None) -> bytes:
    return json.dumps({"message": message, "type": type_, "param": param, "code": code}).encode()


def wrapped(message: str, type_: str | None = None, code: str | int | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}}).encode()


def anthropic(type_: str, message: str = "m") -> bytes:
    return json.dumps({"type": "error", "error": {"type": type_, "message": message}, "request_id": "r"}).encode()


def google(code: int, status: str) -> bytes:
    return json.dumps([{"error": {"code": code, "message": "m", "status": status}}]).encode()


TRAFFIC = "We're experiencing high traffic right now! Please try again soon."
ROWS = [
    # quota: wait for the reset
    ("cerebras", 429, flat("m", "too_many_requests_error", "request_quota_exceeded", "quota"), K.QUOTA),
    ("cerebras", 429, flat("m", "too_many_tokens_error", "token_quota_exceeded", "quota"), K.QUOTA),
    ("groq", 429, wrapped("m", "tokens", "rate_limit_exceeded"), K.QUOTA),
    ("groq", 429, wrapped("m", "requests", "rate_limit_exceeded"), K.QUOTA),
    ("openai", 429, wrapped("m", "requests", "rate_limit_exceeded"), K.QUOTA),
    ("anthropic", 429, anthropic("rate_limit_error"), K.QUOTA),
    ("ollama", 429, wrapped("hourly usage limit", "api_error"), K.QUOTA),
    ("vertex", 429, google(429, "RESOURCE_EXHAUSTED"), K.QUOTA),
    ("bedrock", 429, b'{"message":"Too many requests","__type":"ThrottlingException"}', K.QUOTA),
    # a full queue: another backend at once
    ("cerebras", 429, flat(TRAFFIC, "too_many_requests_error", "queue_exceeded", "queue"), K.OVERLOADED),
    ("cerebras", 503, flat("m"), K.OVERLOADED),
    ("groq", 498, wrapped("m", "server_error", "capacity_exceeded"), K.OVERLOADED),
    ("groq", 503, wrapped("m"), K.OVERLOADED),
    ("openai", 503, wrapped("slow down", "server_error"), K.OVERLOADED),
    ("anthropic", 529, anthropic("overloaded_error"), K.OVERLOADED),
    ("vllm", 503, wrapped("m", "QueueOverflowError", 503), K.OVERLOADED),
    ("vllm", 503, wrapped("m", "MaxQueuedTokensError", 503), K.OVERLOADED),
    ("sglang", 503, flat("The request queue is full.", "SERVICE_UNAVAILABLE"), K.OVERLOADED),
    ("llama.cpp", 503, wrapped("Loading model", "unavailable_error", 503), K.OVERLOADED),
    ("ollama", 503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}', K.OVERLOADED),
    ("vertex", 503, google(503, "UNAVAILABLE"), K.OVERLOADED),
    ("bedrock", 503, b'{"message":"busy"}', K.OVERLOADED),
    # money
    ("cerebras", 402, flat("m"), K.MISCONFIGURED),
    (
        "openai",
        429,
        wrapped("m", "insufficient_quota", "insufficient_quota"),
        K.MISCONFIGURED,
    ),
    ("anthropic", 402, anthropic("billing_error"), K.MISCONFIGURED),
    # too big
    ("cerebras", 413, flat("m"), K.CONTEXT_LENGTH),
    ("groq", 413, wrapped("Request too large for model on TPM", "tokens", "rate_limit_exceeded"), K.CONTEXT_LENGTH),
    ("openai", 400, wrapped("m", "invalid_request_error", "context_length_exceeded"), K.CONTEXT_LENGTH),
    ("openai", 413, wrapped("m"), K.CONTEXT_LENGTH),
    ("anthropic", 413, anthropic("request_too_large"), K.CONTEXT_LENGTH),
    (
        "vllm",
        400,
        wrapped("The maximum context length is 10 tokens.", "BadRequestError", 400),
        K.CONTEXT_LENGTH,
    ),
    (
        "sglang",
        400,
        flat("The input (9 tokens) is longer than the model's (8 tokens)."),
        K.CONTEXT_LENGTH,
    ),
    ("llama.cpp", 400, wrapped("m", "exceed_context_size_error", 400), K.CONTEXT_LENGTH),
    ("ollama", 400, b'{"error":"the input length exceeds the context length"}', K.CONTEXT_LENGTH),
    ("bedrock", 400, b'{"message":"Input is too long for requested model."}', K.CONTEXT_LENGTH),
    # the caller's fault, or the operator's
    ("cerebras", 400, flat("m", "invalid_request_error", "wrong_api_format"), K.BAD_REQUEST),
    ("cerebras", 401, flat("Wrong API Key", "invalid_request_error", "wrong_api_key"), K.MISCONFIGURED),
    ("cerebras", 404, flat("m", "not_found_error", "model_not_found"), K.MODEL_NOT_FOUND),
    ("cerebras", 422, flat("m"), K.BAD_REQUEST),
    ("groq", 400, wrapped("'n' : number must be at most 1", "invalid_request_error"), K.BAD_REQUEST),
    ("groq", 401, wrapped("m", "invalid_request_error", "invalid_api_key"), K.MISCONFIGURED),
    ("groq", 404, wrapped("m", "invalid_request_error", "model_not_found"), K.MODEL_NOT_FOUND),
    ("groq", 422, wrapped("m"), K.BAD_REQUEST),
    ("groq", 424, wrapped("m"), K.BAD_REQUEST),
    ("openai", 403, wrapped("m"), K.MISCONFIGURED),
    ("openai", 400, wrapped("m", "invalid_request_error", "content_policy_violation"), K.CONTENT_FILTER),
    ("anthropic", 400, anthropic("invalid_request_error", "prefill not supported"), K.BAD_REQUEST),
    ("anthropic", 401, anthropic("authentication_error"), K.MISCONFIGURED),
    ("anthropic", 403, anthropic("permission_error"), K.MISCONFIGURED),
    ("anthropic", 404, anthropic("not_found_error", "model: claude-0"), K.MODEL_NOT_FOUND),
    ("vllm", 400, wrapped("m", "BadRequestError", 400), K.BAD_REQUEST),
    ("vllm", 404, wrapped("The model `m` does not exist.", "NotFoundError", 404), K.MODEL_NOT_FOUND),
    ("sglang", 400, flat("m", "BadRequestError"), K.BAD_REQUEST),
    ("llama.cpp", 401, wrapped("Invalid API Key", "authentication_error", 401), K.MISCONFIGURED),
    ("llama.cpp", 404, wrapped("File Not Found", "not_found_error", 404), K.MISCONFIGURED),
    ("llama.cpp", 501, wrapped("no embeddings", "not_supported_error", 501), K.BAD_REQUEST),
    ("ollama", 404, b'{"error":"model \\"m\\" not found, try pulling it first"}', K.MODEL_NOT_FOUND),
    ("vertex", 403, google(403, "PERMISSION_DENIED"), K.MISCONFIGURED),
    # transient
    *(("openai", status, wrapped("m"), K.SERVER_ERROR) for status in (408, 409, 500, 502, 504)),
    *(("cerebras", status, flat("m"), K.SERVER_ERROR) for status in (408, 500, 502, 504)),
    ("groq", 502, wrapped("m"), K.SERVER_ERROR),
    *(("anthropic", status, anthropic("api_error"), K.SERVER_ERROR) for status in (408, 409, 500)),
    ("anthropic", 504, anthropic("timeout_error"), K.SERVER_ERROR),
    ("vllm", 500, wrapped("m", "InternalServerError", 500), K.SERVER_ERROR),
    ("sglang", 500, flat("m"), K.SERVER_ERROR),
    ("llama.cpp", 500, wrapped("m", "server_error", 500), K.SERVER_ERROR),
    ("ollama", 502, b"bad gateway", K.SERVER_ERROR),
    ("vertex", 500, google(500, "INTERNAL"), K.SERVER_ERROR),
    # our own request was given up
    ("groq", 499, wrapped("m"), K.SERVER_ERROR),
    ("anthropic", 499, anthropic("api_error"), K.SERVER_ERROR),
]


@pytest.mark.parametrize(("provider", "status", "body", "kind"), ROWS)
def test_each_provider_s_error_is_of_its_kind(provider: str, status: int, body: bytes, kind: ErrorKind) -> None:
    assert provider in DIALECTS
    fault = read_error(status, {}, body, NOON_UNIX_S)
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.message


DECLARED = [(dialect, row) for dialect in DIALECTS.values() for row in dialect.errors]


@pytest.mark.parametrize(("dialect", "row"), DECLARED, ids=lambda each: getattr(each, "name", None) or str(each.status))
def test_every_error_that_a_dialect_declares_is_read_back_as_it_was_declared(dialect: Dialect, row: ErrorRow) -> None:
    fault = read_error(row.status, error_headers(dialect, row), render_error(dialect, row), NOON_UNIX_S)
    assert (fault.kind, fault.status, fault.message) == (row.kind, row.status, row.message)
    inside = stream_error(b": ping\n\n" + render_stream_error(dialect, row))
    assert inside is not None
    assert inside.message == row.message


STREAMED = [
    (b'data: {"error":{"message":"m","type":"t","code":"queue_exceeded"},"status_code":429}\n\n', K.OVERLOADED, 429),
    (b'data: {"error":{"message":"m"},"status_code":503}\n\n', K.OVERLOADED, 503),
    (b'data: {"id":"c","choices":[],"error":{"message":"m","type":"server_error"}}\n\n', K.SERVER_ERROR, 500),
    (b'data: {"id":"c","choices":[],"x_groq":{"id":"r","error":"over capacity"}}\n\n', K.SERVER_ERROR, 500),
    (
        b'data: {"error":{"message":"m","type":"InternalServerError","param":null,"code":500}}\n\ndata: [DONE]\n\n',
        K.SERVER_ERROR,
        500,
    ),
    (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n', K.OVERLOADED, 503),
    (
        b'event: error\ndata: {"type":"error","code":"server_error","message":"m","sequence_number":3}\n\n',
        K.SERVER_ERROR,
        500,
    ),
    (
        b'event: response.failed\ndata: {"type":"response.failed","response":{"error":'
        b'{"code":"rate_limit_exceeded","message":"m"}}}\n\n',
        K.QUOTA,
        429,
    ),
    (b'{"error":"llama runner process has terminated"}\n', K.SERVER_ERROR, 500),
]


@pytest.mark.parametrize(("payload", "kind", "status"), STREAMED)
def test_an_error_inside_a_200_stream_is_seen_in_each_provider_s_shape(
    payload: bytes, kind: ErrorKind, status: int
) -> None:
    before = b'data: {"choices":[{"index":0,"delta":{"content":"an error? no"}}]}\n\n'
    assert stream_error(before) is None
    fault = stream_error(before + payload if payload.startswith((b"data", b"event")) else payload)
    assert fault is not None
    assert (fault.kind, fault.status) == (kind, status)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, b"", None),
        ({b"retry-after": b"7"}, b"", 7.0),
        ({b"retry-after-ms": b"250", b"retry-after": b"7"}, b"", 0.25),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, b"", 0.0),
        ({b"retry-after": b"soon"}, b"", None),
        ({b"retry-after": b"9" * 400}, b"", 3600.0),
        ({b"x-ratelimit-remaining-tokens-minute": b"0", b"x-ratelimit-reset-tokens-minute": b"11.38"}, b"", 11.38),
        ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"1m2.5s"}, b"", 62.5),
        ({b"x-ratelimit-remaining-tokens": b"9", b"x-ratelimit-reset-tokens": b"1m2.5s"}, b"", None),
        (
            {
                b"anthropic-ratelimit-requests-remaining": b"0",
                b"anthropic-ratelimit-requests-reset": b"2026-11-22T12:00:30Z",
            },
            b"",
            30.0,
        ),
        ({}, wrapped("Limit 6000. Please try again in 7.66s.", "tokens", "rate_limit_exceeded"), 7.66),
    ],
)
def test_how_long_to_wait_is_read_in_each_encoding(
    headers: dict[bytes, bytes], body: bytes, seconds: float | None
) -> None:
    assert read_error(429, headers, body, NOON_UNIX_S).retry_after_s == seconds


def test_a_provider_that_says_that_a_request_may_be_tried_again_is_believed() -> None:
    assert read_error(400, {b"x-should-retry": b"true"}, wrapped("m"), NOON_UNIX_S).kind is K.SERVER_ERROR
    assert read_error(400, {b"x-should-retry": b"false"}, wrapped("m"), NOON_UNIX_S).kind is K.BAD_REQUEST


def test_the_client_gets_the_error_in_the_shape_of_the_api_that_it_asked() -> None:
    fault = read_error(413, {}, flat("too long", "t", "c"), NOON_UNIX_S)
    status, body = client_error(fault, "chat")
    assert (status, json.loads(body)["error"]["code"]) == (413, "context_length_exceeded")
    status, body = client_error(fault, "messages")
    said = {"type": "request_too_large", "message": "too long"}
    expected: dict[str, Any] = {"type": "error", "error": said, "request_id": None}
    assert (status, json.loads(body)) == (413, expected)
    overloaded = BackendFault(K.OVERLOADED, 200, "full")
    assert client_error(overloaded, "messages")[0] == 503
    assert json.loads(client_error(overloaded, "messages")[1])["error"]["type"] == "overloaded_error"


@given(st.integers(400, 599), st.binary(max_size=200))
def test_any_body_at_all_has_a_kind_and_makes_a_body_for_the_client(status: int, body: bytes) -> None:
    fault = read_error(status, {}, body, NOON_UNIX_S)
    json.loads(client_error(fault, "responses")[1])
    stream_error(b'data: {"error":' + body + b"\n\n")
