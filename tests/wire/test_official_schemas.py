"""What is written is what the official descriptions say: OpenAI's OpenAPI page, and the types of the official SDKs."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pydantic
import pytest
from openai.types.responses import ResponseStreamEvent
from probes import BASES, PROBES, body
from wire_rig import ANSWER_ID, API_NAMES, CHATTY, accepting, read_stream, recorded, send, write_stream

from headrace.wire.apis import APIS, ApiName, embeddings
from headrace.wire.canonical import (
    Event,
    Failed,
    Finished,
    ReasoningSealed,
    RefusalDelta,
    Seal,
    SummaryDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    TopLogprob,
    fold,
    unfold,
)
from headrace.wire.sse import EventReader
from official import ANSWER_SCHEMAS, REQUEST_SCHEMAS, check, needs_openapi

# What the description does not have yet, or what OpenAI-compatible servers add to it.
HI: Any = [{"role": "user", "content": "hi"}]
BESIDE_THE_DESCRIPTION = {"top_k", "fields of one server"}


def spoken() -> list[list[Event]]:
    """Answers with everything that an answer can have."""
    chat = read_stream("chat", recorded("chat.tools.sse"))
    logprobs = (TokenLogprob("hi", -0.5, (104, 105), (TopLogprob("ho", -1.5, (104, 111)),)),)
    head, tail = chat[:1], chat[-3:]
    usage, ended = tail[1], tail[2]
    sealed = [SummaryDelta("One.", 0), SummaryDelta("Two.", 1), ReasoningSealed(Seal("responses", "gAAA", "rs_7"))]
    custom = [ToolCallStarted("c1", "apply_patch", custom=True), ToolCallDelta("*** Begin"), ToolCallDone()]
    return [
        chat,
        read_stream("chat", recorded("chat.text.sse")),
        [*head, TextDelta("hi", 0, logprobs), TextDelta(" there", 0, logprobs), Finished("length"), usage, ended],
        [*head, *sealed, RefusalDelta("No."), Finished("content_filter"), usage, ended],
        [*head, *custom, Finished("tool_calls"), usage, ended],
        [*head, Finished("stop"), usage, ended],
    ]


@needs_openapi
@pytest.mark.parametrize(("client", "backend"), [(a, b) for a in API_NAMES for b in REQUEST_SCHEMAS])
def test_requests_that_are_written_are_what_the_description_says(client: ApiName, backend: ApiName) -> None:
    for probe in PROBES[client]:
        passage = send(
            APIS[client].read_request(body(client, probe)),
            backend,
            accepting(custom_tools=True),
        )
        if passage.outgoing is not None and probe not in BESIDE_THE_DESCRIPTION:
            check(REQUEST_SCHEMAS[backend], passage.outgoing.body)


@needs_openapi
@pytest.mark.parametrize("api", API_NAMES)
def test_the_recorded_requests_are_what_the_description_says(api: ApiName) -> None:
    if api in REQUEST_SCHEMAS:
        check(REQUEST_SCHEMAS[api], recorded(f"{api}.request.json"))


@needs_openapi
@pytest.mark.parametrize("client", ANSWER_SCHEMAS)
@pytest.mark.parametrize("events", spoken())
def test_whole_answers_are_what_the_description_says(client: ApiName, events: list[Event]) -> None:
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    check(ANSWER_SCHEMAS[client], APIS[client].write_answer(fold(events), request, ANSWER_ID))


@needs_openapi
@pytest.mark.parametrize("probe", PROBES["responses"])
def test_a_response_says_again_what_was_asked_as_the_description_says(probe: str) -> None:
    request = APIS["responses"].read_request(body("responses", probe))
    check("Response", APIS["responses"].write_answer(fold(spoken()[0]), request, ANSWER_ID))


@needs_openapi
@pytest.mark.parametrize("events", spoken())
def test_events_of_a_responses_stream_are_what_the_description_says(events: list[Event]) -> None:
    request = APIS["responses"].read_request(recorded("responses.request.json"))
    stream = write_stream("responses", request, [*events, Failed(429, "slow down")])
    numbers = []
    for data in EventReader().feed(stream):
        check("ResponseStreamEvent", data)
        numbers.append(json.loads(data)["sequence_number"])
    assert numbers == list(range(len(numbers)))


@needs_openapi
@pytest.mark.parametrize("events", spoken())
def test_chunks_of_a_chat_stream_are_what_the_description_says(events: list[Event]) -> None:
    request = APIS["chat"].read_request(recorded("chat.request.json"))
    for data in EventReader().feed(write_stream("chat", request, events)):
        if data != b"[DONE]" and b'"custom"' not in data:  # the description has no chunks of custom tools' calls
            check("CreateChatCompletionStreamResponse", data)


@pytest.mark.parametrize("events", spoken())
def test_every_piece_of_a_call_says_its_type(events: list[Event]) -> None:
    """The SDK of Cerebras wants it (cerebras_cloud_sdk 1.91.0), and the description allows it."""
    request = APIS["chat"].read_request(recorded("chat.request.json"))
    stream = EventReader().feed(write_stream("chat", request, events))
    deltas = [choice["delta"] for data in stream if data != b"[DONE]" for choice in json.loads(data)["choices"]]
    assert all(call["type"] in ("function", "custom") for delta in deltas for call in delta.get("tool_calls", ()))


@needs_openapi
@pytest.mark.parametrize("given", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_embeddings_are_what_the_description_says(given: Any) -> None:
    asked = json.dumps({"model": "m", "input": given, "dimensions": 2, "user": "u"}).encode()
    request = embeddings.read_request(asked)
    check("CreateEmbeddingRequest", embeddings.write_request(request))
    assert json.loads(embeddings.write_request(request)) == json.loads(asked) | {"encoding_format": "float"}
    vectors = b'{"data":[{"index":1,"embedding":"AAAAPwAAgD8="},{"index":0,"embedding":[0.25,2]}],"model":"m"}'
    answer = embeddings.write_answer(embeddings.read_answer(vectors), request)
    check("CreateEmbeddingResponse", answer)
    assert [vector["embedding"] for vector in json.loads(answer)["data"]] == [[0.25, 2], [0.5, 1]]


def test_vectors_in_base64_are_what_the_sdk_decodes() -> None:
    request = embeddings.read_request(b'{"model":"m","input":"a","encoding_format":"base64"}')
    answer = embeddings.write_answer(embeddings.read_answer(b'{"data":[{"embedding":[0.5,-1]}],"model":"m"}'), request)
    vectors = openai_client(answer).embeddings.create(model="m", input="a")
    assert vectors.data[0].embedding == [0.5, -1.0]


# the official SDKs, over a transport that answers with what was written


def transport(answer: bytes) -> httpx2.MockTransport:
    kind = "text/event-stream" if answer.startswith((b"event:", b"data:")) else "application/json"
    return httpx2.MockTransport(lambda request: httpx2.Response(200, headers={"content-type": kind}, content=answer))


def openai_client(answer: bytes) -> openai.OpenAI:
    http_client = httpx2.Client(transport=transport(answer))
    return openai.OpenAI(api_key="k", base_url="http://headrace/v1", http_client=http_client, max_retries=0)


def anthropic_client(answer: bytes) -> anthropic.Anthropic:
    http_client = httpx2.Client(transport=transport(answer))
    return anthropic.Anthropic(api_key="k", base_url="http://headrace", http_client=http_client, max_retries=0)


@pytest.mark.parametrize("events", spoken())
def test_the_openai_sdk_reads_every_event_of_a_responses_stream(events: list[Event]) -> None:
    request = APIS["responses"].read_request(recorded("responses.request.json"))
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
    for data in EventReader().feed(write_stream("responses", request, events)):
        adapter.validate_json(data)


def test_the_openai_sdk_follows_a_responses_stream_to_its_end() -> None:
    request = APIS["responses"].read_request(recorded("responses.request.json"))
    stream = write_stream("responses", request, read_stream("chat", recorded("chat.tools.sse")))
    with openai_client(stream).responses.stream(model="m", input="hi") as answer:
        texts = [event.delta for event in answer if event.type == "response.output_text.delta"]
        final = answer.get_final_response()
    assert texts == ["Let me ", "look. 🌦"]
    assert final.output_text == "Let me look. 🌦"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "function_call"]
    assert final.usage is not None
    assert (final.usage.input_tokens_details.cached_tokens, final.usage.output_tokens_details.reasoning_tokens) == (
        64,
        9,
    )


def test_the_openai_sdk_follows_a_chat_stream_to_its_end() -> None:
    request = APIS["chat"].read_request(recorded("chat.request.json"))
    stream = write_stream("chat", request, read_stream("messages", recorded("messages.tools.sse")))
    with openai_client(stream).chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "hi"}]
    ) as answer:
        completion = answer.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "Let me look. 🌦"
    assert [call.function.arguments for call in message.tool_calls or ()] == ['{"city":"Paris"}', '{"city":"Rome"}']
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 120


def test_the_anthropic_sdk_follows_a_messages_stream_to_its_end() -> None:
    request = APIS["messages"].read_request(recorded("messages.request.json"))
    stream = write_stream("messages", request, read_stream("responses", recorded("responses.tools.sse")))
    with anthropic_client(stream).messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
    ) as answer:
        message = answer.get_final_message()
    thought, said, paris, rome = message.content
    assert thought.type == "thinking"
    assert thought.signature.endswith("gAAAAABo")
    assert (said.type, said.text) == ("text", "Let me look. 🌦")  # type: ignore[union-attr]
    assert [(call.name, call.input) for call in (paris, rome)] == [  # type: ignore[union-attr]
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        56,
        64,
        45,
    )


@pytest.mark.parametrize("events", spoken())
def test_the_anthropic_sdk_takes_every_event_of_a_messages_stream(events: list[Event]) -> None:
    request = APIS["messages"].read_request(recorded("messages.request.json"))
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
    for data in EventReader().feed(write_stream("messages", request, events)):
        adapter.validate_json(data)
    anthropic.types.Message.model_validate_json(APIS["messages"].write_answer(fold(events), request, ANSWER_ID))


@pytest.mark.parametrize("client", CHATTY)
def test_the_sdks_notice_a_stream_that_broke(client: ApiName) -> None:
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    events = read_stream("chat", recorded("chat.text.sse"))[:3]
    stream = write_stream(client, request, [*events, Failed(502, "the backend died")])
    with pytest.raises((openai.APIError, anthropic.APIError), match="the backend died"):
        follow(client, stream)


def follow(client: ApiName, stream: bytes) -> None:
    """Read a stream to its end with the API's official SDK."""
    if client == "chat":
        list(openai_client(stream).chat.completions.create(model="m", messages=HI, stream=True))
    elif client == "responses":
        list(openai_client(stream).responses.create(model="m", input="hi", stream=True))
    else:
        list(anthropic_client(stream).messages.create(model="m", max_tokens=9, messages=HI, stream=True))


@pytest.mark.parametrize("backend", CHATTY)
def test_the_anthropic_sdks_request_types_take_what_is_written_for_messages(backend: ApiName) -> None:
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.MessageParam)
    for probe in PROBES[backend]:
        passage = send(APIS[backend].read_request(body(backend, probe)), "messages")
        for message in json.loads(passage.outgoing.body)["messages"] if passage.outgoing is not None else ():
            adapter.validate_python(message)


def test_every_api_has_probes_and_a_base() -> None:
    assert set(PROBES) == set(BASES) == set(APIS)


def test_unfolding_and_folding_an_answer_gives_the_answer() -> None:
    for events in spoken():
        assert fold(unfold(fold(events))) == fold(events)
