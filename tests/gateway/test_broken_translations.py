"""A translated stream that breaks says so in the client's API and never ends politely; before it began nobody sees."""

from __future__ import annotations

import itertools
import json

import pytest
from emulated_rig import MODEL, Ask, through

from headrace.policy import PolicyEngine
from headrace.wire import ApiName
from headrace.wire.apis import APIS, PLAIN, Accepts
from headrace.wire.canonical import Failed, Request, Text, TextDelta, Turn

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
CHATTY: tuple[ApiName, ...] = ("chat", "responses", "messages", "completions")
PAIRS = [pair for pair in itertools.product(CHATTY, CHATTY) if "completions" not in pair[1:]]
POLITE_ENDS = (b"[DONE]", b"response.completed", b"message_stop", b'"finish_reason":"stop"')


def streamed(client: ApiName) -> bytes:
    turns = (Turn("user", (Text("hi"),)),)
    prompts = ("hi",) if client == "completions" else ()
    request = Request(
        api=client, model=MODEL, turns=() if prompts else turns, prompts=prompts, stream=True, max_output_tokens=400
    )
    return APIS[client].write_request(request, Accepts(default_max_output_tokens=400)).body


@pytest.mark.parametrize("fault", ["cut@300", "polite@300", "overloaded@300"])
@pytest.mark.parametrize(("client", "backend"), PAIRS)
def test_a_break_after_the_first_token_is_seen_by_every_client(client: ApiName, backend: ApiName, fault: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        status, _, body, complete = await ask(fault, path=APIS[client].path, raw=streamed(client), tokens=400)
        assert (status, complete) == (200, False)
        events = APIS[client].stream_reader(PLAIN).feed(body)
        assert any(isinstance(event, TextDelta) for event in events)
        if client == backend:
            return  # it passes as it is, whatever the backend says at the end
        assert isinstance(events[-1], Failed), body[-400:]
        assert not any(mark in body for mark in POLITE_ENDS)

    _, ledger = through(scenario, f"only-{backend}", with_ledger=True)
    assert {row["status"] for row in ledger} == {"failed"}
    assert ledger[-1]["delivered_output_tokens"] >= 1, "one that broke before anything was passed on is begun anew"


@pytest.mark.parametrize("fault", ["b0=garbage", "b0=overloaded", "b0=cut"])
@pytest.mark.parametrize(("client", "backend"), PAIRS)
def test_a_break_before_it_is_another_backends_turn(client: ApiName, backend: ApiName, fault: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        status, headers, body, complete = await ask(fault, path=APIS[client].path, raw=streamed(client))
        assert (status, complete, headers[b"x-headrace-backend"]) == (200, True, b"b1")
        events = APIS[client].stream_reader(PLAIN).feed(body)
        assert not any(isinstance(event, Failed) for event in events)

    _, ledger = through(scenario, f"only-{backend}", "only-chat", with_ledger=True)
    assert [row["status"] for row in ledger] == ["failed", "completed"]


@pytest.mark.parametrize("client", CHATTY)
@pytest.mark.parametrize("error", ["bad_request", "context_length"])
def test_a_refusal_has_the_shape_of_the_api_that_was_asked(client: ApiName, error: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        status, _, body, _ = await ask(error, path=APIS[client].path, raw=streamed(client))
        assert status >= 400
        said = json.loads(body)
        assert ("request_id" in said) == (client == "messages")
        assert said["error"]["message"]

    through(scenario, "only-chat" if client != "chat" else "only-responses")
