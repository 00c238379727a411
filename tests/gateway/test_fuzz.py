"""What the gateway's own page allows, and what it does not, asked at random: no answer is an accident.

A few hundred cases here; `make fuzz` asks as many as `HEADRACE_FUZZ_CASES` says, and others each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from fuzz_rig import Background, in_background
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core import NotSet
from schemathesis.specs.openapi import checks
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

CASES = int(os.environ.get("HEADRACE_FUZZ_CASES", "210"))
AT_RANDOM = "HEADRACE_FUZZ_CASES" in os.environ
POSTED = ("chat", "completions", "responses", "messages", "embeddings", "count_tokens")
GOT = ("models", "model", "root", "health", "metrics", "responses_socket")
HI = [{"role": "user", "content": "hi"}]
SOUND: dict[str, dict[str, Any]] = {
    "chat": {"messages": HI},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "messages": {"messages": HI, "max_tokens": 9},
    "embeddings": {"input": "hi"},
    "count_tokens": {"messages": HI},
}
CHECKS = (checks.response_schema_conformance, checks.content_type_conformance, checks.response_headers_conformance)
EMULATED = {"x-headrace-emulated-output-tokens": "3"}
HANDLED = frozenset((200, 400, 403, 404, 405, 406, 413, 415, 422, 426, 429, 431, 503, 504))
ENDS = HANDLED | {"response.completed", "response.incomplete", "response.failed", "closed: 1003"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Background]:
    with in_background("openai", "anthropic", "vllm", "groq") as background:
        yield background


@pytest.fixture(scope="module")
def schema(gateway: Background) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.base_url}/openapi.json")


def cases_of(schema: Any, operation_id: str) -> st.SearchStrategy[Case]:
    """What the page allows, what it does not, and sound requests with a few fields of the former."""
    (operation,) = [
        each.ok() for each in schema.get_all_operations() if each.ok().definition.raw["operationId"] == operation_id
    ]
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation_id not in SOUND:
        return allowed
    picked = st.lists(st.integers(0, 99), max_size=3)
    sound = st.builds(with_fields, allowed, st.just(SOUND[operation_id]), picked, st.booleans())
    return st.one_of(sound, sound, allowed, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


def with_fields(case: Case, sound: dict[str, Any], picked: list[int], plain: bool) -> Case:
    """The case with a sound body, and a few of the fields that it had; `plain`: without its headers."""
    names = sorted(case.body.keys() - sound.keys() - {"model"})
    taken = {names[place % len(names)] for place in picked} if names else set()
    case.body = {name: case.body[name] for name in taken} | {"model": case.body["model"], **sound}
    if plain:
        case.headers.clear()
    return case


def at_random(share: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=max(CASES // share, 1),
        derandomize=not AT_RANDOM,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("operation_id", [*POSTED, *GOT])
def test_every_answer_is_one_that_the_page_describes(gateway: Background, schema: Any, operation_id: str) -> None:
    session = requests.Session()

    @at_random(len(POSTED) + 1 if operation_id in POSTED else 100)
    @given(cases_of(schema, operation_id))
    def ask(case: Case) -> None:
        case.headers.update(EMULATED)
        response = case.call(base_url=gateway.base_url, session=session, timeout=120)
        assert response.status_code in HANDLED, response.text
        case.validate_response(response, checks=CHECKS)
        assert gateway.faults == []

    ask()


def test_every_message_over_a_websocket_is_answered_or_closes_it(gateway: Background, schema: Any) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/v1/responses"
    bodies = cases_of(schema, "responses").map(lambda case: case.body).filter(lambda body: not isinstance(body, NotSet))
    lanes = st.sampled_from(["a", "b", "", 1])
    envelopes = st.fixed_dictionaries(
        {"type": st.sampled_from(["response.create"] * 9 + ["other"])},
        optional={"stream_id": lanes, "generate": st.booleans(), "background": st.booleans()},
    )

    @at_random(len(POSTED) + 1)
    @given(bodies, envelopes, st.integers(0, 9).map(lambda die: die == 0))
    def ask(body: Any, envelope: dict[str, Any], binary: bool) -> None:
        message = json.dumps({**body, **envelope} if isinstance(body, dict) else body, default=str)
        with connect(url, additional_headers=EMULATED) as connection:
            connection.send(message.encode() if binary else message)
            assert last_of(connection) in ENDS
        assert gateway.faults == []

    ask()


def last_of(connection: ClientConnection) -> object:
    """How an answer ends: the status of an error, else the kind of the last event, or why the connection was closed."""
    try:
        event = json.loads(connection.recv(120))
        while event["type"] != "error" and event["type"] not in ENDS:
            event = json.loads(connection.recv(120))
    except ConnectionClosed as closed:
        return f"closed: {closed.rcvd.code if closed.rcvd is not None else None}"
    return event["status"] if event["type"] == "error" else event["type"]
