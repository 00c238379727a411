"""Whatever a client sends, it gets the right error in the shape of the API that it asked, and never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from emulated_rig import MODEL, Ask, through
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.http.exchange import MAX_VALUE_BYTES
from headrace.policy import PolicyEngine

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3},
    "/v1/completions": {"prompt": "hi", "max_tokens": 3},
    "/v1/responses": {"input": [{"role": "user", "content": "hi"}], "max_output_tokens": 3},
    "/v1/messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "max_tokens": 3},
    "/v1/embeddings": {"input": ["hi"]},
}
PATHS = list(GOOD)
BACKENDS = ("only-chat", "only-responses", "only-messages", "openai-compatible")
KEYS = ["type", "role", "content", "text", "name", "id", "function"]
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["user", "tool", "text", "function", "image_url", "input_text", "tool_use", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "name", "id", "function"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
FIELDS = (
    *("model", "messages", "input", "prompt", "tools", "tool_choice", "n", "stop", "stream", "stream_options", "text"),
    *("max_tokens", "max_output_tokens", "response_format", "reasoning", "thinking", "system", "instructions", "store"),
    *("metadata", "include", "logprobs", "top_logprobs", "temperature", "headrace", "previous_response_id", "user"),
)


def check_shape(path: str, status: int, body: bytes) -> None:
    """An error has the shape of its API, and is the client's."""
    said = json.loads(body)
    assert 400 <= status < 500, (status, body)
    assert said["error"]["message"]
    if path == "/v1/messages":
        assert (said["type"], said["error"]["type"] != "") == ("error", True)
    else:
        assert {"message", "type", "param", "code"} <= set(said["error"])


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def edited(path: str, **fields: Any) -> bytes:
    return json.dumps({"model": MODEL, **GOOD[path], **fields}).encode()


def spliced(path: str, name: str, raw: bytes) -> bytes:
    return edited(path, **{name: "@@"}).replace(b'"@@"', raw)


BAD: dict[str, Callable[[str], bytes]] = {
    "nothing": lambda path: b"",
    "a list": lambda path: b"[]",
    "half": lambda path: edited(path)[:-9],
    "no utf-8": lambda path: edited(path).replace(b"hi", b"h\xff"),
    "truncated utf-8": lambda path: edited(path).replace(b"hi", b"h\xe2\x82"),
    "nan": lambda path: spliced(path, "temperature", b"NaN"),
    "deep": lambda path: spliced(path, "metadata", deep(100_000)),
    "no model": lambda path: json.dumps(GOOD[path]).encode(),
    "model of a wrong type": lambda path: edited(path, model=[MODEL]),
    "model unknown": lambda path: edited(path, model="none"),
    "stream of a wrong type": lambda path: edited(path, stream="yes"),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_none_is_refused_in_the_shape_of_its_api(path: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        for what, make in BAD.items():
            status, _, body, _ = await ask(path=path, raw=make(path))
            assert status == (404 if what == "model unknown" else 400), (what, status, body)
            check_shape(path, status, body)

    through(scenario, "only-chat", "only-embeddings")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("path", [path for path in PATHS if path != "/v1/embeddings"])
def test_whatever_is_in_it_a_request_is_answered_or_is_the_clients_fault(path: str, backend: str) -> None:
    """Many requests through one gateway: junk in a field of a good request."""

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(FIELDS), junk), min_size=1, max_size=2))
    def collected(fields: list[tuple[str, Any]]) -> None:
        bodies.append(edited(path, **dict(fields)))

    bodies: list[bytes] = []
    collected()

    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        for body in bodies:
            status, _, answered, complete = await ask(path=path, raw=body)
            assert complete, body
            if status != 200:
                check_shape(path, status, answered)
        status, _, _, _ = await ask(path=path, raw=edited(path))
        assert status == 200, "and the next good request is answered"

    through(scenario, backend)


@pytest.mark.parametrize("path", PATHS)
def test_a_large_body_is_answered(path: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        tools = [{"type": "function", "name": f"f{at}", "function": {"name": f"f{at}"}} for at in range(5_000)]
        text = "x" * 10_000_000
        large = json.dumps({"model": MODEL, **GOOD[path]}).replace('"hi"', f'"{text}"').encode()
        for body in (large, edited(path, tools=tools)):
            status, _, answered, _ = await ask(path=path, raw=body)
            if status != 200:
                check_shape(path, status, answered)

    through(scenario, "only-chat", "only-embeddings")


def test_a_body_that_is_too_large_is_refused_in_the_shape_of_its_api() -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        for path in PATHS:
            status, _, body, _ = await ask(path=path, raw=b"x" * (17 * 1024 * 1024))
            assert status == 413
            check_shape(path, status, body)

    through(scenario, "only-chat")


def test_nothing_of_one_connection_is_on_another() -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        bodies = [edited(path) for path in PATHS[:4]] * 8
        paths = PATHS[:4] * 8
        answers = await asyncio.gather(*(ask(path=p, raw=b) for p, b in zip(paths, bodies, strict=True)))
        kinds = {"/v1/chat/completions": "chat.completion", "/v1/completions": "text_completion"}
        for path, (status, _, body, _) in zip(paths, answers, strict=True):
            answer = json.loads(body)
            assert status == 200
            assert answer.get("object", answer.get("type")) == kinds.get(path, answer.get("object", "message"))

    through(scenario, "only-chat", "only-responses")


@pytest.mark.parametrize("name", ["\r\nx-evil: 1", "\n", "\r\n\r\n{}", "k\u00ff", "a" * 9000])
def test_no_field_s_name_reaches_past_the_header_that_tells_of_it(name: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        asked = {"path": "/v1/messages", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
        status, headers, body, proper = await ask(**asked, **{name: 1})
        assert (status, proper) == (200, True)
        assert json.loads(body)["type"] == "message"
        assert b"x-evil" not in headers
        assert 0 < len(headers[b"x-headrace-dropped"]) <= MAX_VALUE_BYTES

    through(scenario, "only-chat")
