"""For every pair of a client's API and a backend's, what comes out means what went in, or the loss is on record."""

from __future__ import annotations

import itertools
import json

import pytest
from probes import BASES, PROBES, body
from wire_rig import API_NAMES, CHATTY, choices, comparable, read_stream, recorded, send, write_stream

from headrace.wire.apis import APIS, PLAIN, ApiName
from headrace.wire.canonical import Answer, Failed, Finished, Reasoning, Text, ToolCall, Usage, fold, unfold

PAIRS = list(itertools.product(API_NAMES, API_NAMES))
CHATTY_PAIRS = list(itertools.product(CHATTY, CHATTY))
SPOKEN = "Let me look. 🌦"
USAGE = Usage(120, 45, 64, 0, 9)


@pytest.mark.parametrize(("client", "backend"), CHATTY_PAIRS)
def test_a_recorded_request_means_the_same_at_the_backend(client: ApiName, backend: ApiName) -> None:
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    passage = send(request, backend)
    assert passage.outgoing is not None
    assert passage.arrived is not None
    assert (passage.outgoing.dropped, passage.outgoing.approximated) == ((), ())
    assert comparable(passage.arrived) == comparable(request)


def test_the_recorded_requests_of_all_apis_mean_the_same() -> None:
    forms = [comparable(APIS[api].read_request(recorded(f"{api}.request.json"))) for api in CHATTY]
    assert forms[0] == forms[1] == forms[2]
    assert len(forms[0]["turns"]) == 6


@pytest.mark.parametrize("backend", CHATTY)
def test_a_recorded_prompt_becomes_the_users_only_turn(backend: ApiName) -> None:
    passage = send(APIS["completions"].read_request(recorded("completions.request.json")), backend)
    assert passage.outgoing is not None
    assert passage.arrived is not None
    assert "prompt" in passage.outgoing.approximated
    assert [part for turn in passage.arrived.turns for part in turn.parts] == [Text("Say «hello»")]


@pytest.mark.parametrize(("client", "backend"), CHATTY_PAIRS)
def test_a_recorded_stream_with_reasoning_and_two_tool_calls_comes_out_equal(client: ApiName, backend: ApiName) -> None:
    answer = fold(read_stream(backend, recorded(f"{backend}.tools.sse")))
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    there = fold(read_stream(client, write_stream(client, request, read_stream(backend, recorded_tools(backend)))))
    assert choices(there) == choices(answer)
    assert (there.usage, there.model) == (answer.usage, answer.model) == (USAGE, "gpt-oss-120b")
    check_tools(there)


def recorded_tools(backend: ApiName) -> bytes:
    return recorded(f"{backend}.tools.sse")


def check_tools(answer: Answer) -> None:
    (choice,) = answer.choices
    thought, said, paris, rome = choice.parts
    assert isinstance(thought, Reasoning)
    assert (thought.text, said) == ("Two cities, two calls — now.", Text(SPOKEN))
    assert paris == ToolCall("call_a", "weather", '{"city":"Paris"}')
    assert rome == ToolCall("call_b", "weather", '{"city":"Rome"}')
    assert choice.finish == "tool_calls"


@pytest.mark.parametrize(("client", "backend"), PAIRS)
def test_recorded_structured_output_usage_and_stop_come_out_equal(client: ApiName, backend: ApiName) -> None:
    answer = fold(read_stream(backend, recorded(f"{backend}.text.sse")))
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    there = fold(read_stream(client, write_stream(client, request, unfold(answer))))
    assert choices(there) == choices(answer)
    assert json.loads(there.choices[0].text) == {"celsius": 18.5}
    assert there.usage == answer.usage == USAGE
    assert there.choices[0].finish == "stop"


@pytest.mark.parametrize(("client", "backend"), PAIRS)
def test_whole_answers_are_what_their_streams_fold_to(client: ApiName, backend: ApiName) -> None:
    kind = "text" if "completions" in (client, backend) else "tools"
    answer = fold(read_stream(backend, recorded(f"{backend}.{kind}.sse")))
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    whole = APIS[client].read_answer(APIS[client].write_answer(answer, request, "8f3a"), PLAIN)
    streamed = fold(read_stream(client, write_stream(client, request, unfold(answer))))
    assert choices(whole) == choices(streamed) == choices(answer)
    assert whole.usage == streamed.usage


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter"])
@pytest.mark.parametrize("client", CHATTY)
def test_every_finish_reason_survives_the_way_to_a_client(client: ApiName, finish: str) -> None:
    answer = fold(read_stream("chat", recorded("chat.tools.sse" if finish == "tool_calls" else "chat.text.sse")))
    events = [Finished(finish) if isinstance(event, Finished) else event for event in unfold(answer)]
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    assert fold(read_stream(client, write_stream(client, request, events))).choices[0].finish == finish


ERRORS: dict[ApiName, bytes] = {
    "chat": b'data: {"error":{"message":"engine died","type":"server_error","param":null,"code":500}}\n\n'
    b"data: [DONE]\n\n",
    "completions": b'data: {"error":{"message":"engine died","type":"server_error"},"status_code":500}\n\n'
    b"data: [DONE]\n\n",
    "responses": b'event: error\ndata: {"type":"error","code":"500","message":"engine died","param":null,'
    b'"sequence_number":3}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"engine died"}}\n\n',
}
POLITE = (b"[DONE]", b"message_stop", b"response.completed", b'"finish_reason":"', b'"stop_reason":"')


@pytest.mark.parametrize(("client", "backend"), PAIRS)
def test_an_error_inside_a_stream_reaches_the_client_and_never_ends_politely(client: ApiName, backend: ApiName) -> None:
    start = recorded(f"{backend}.text.sse").split(b"sius")[0].rpartition(b"\n\n")[0] + b"\n\n"
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    written = write_stream(client, request, read_stream(backend, start + ERRORS[backend]))
    assert not any(mark in written for mark in POLITE)
    failed = read_stream(client, written)[-1]
    assert isinstance(failed, Failed)
    assert "engine died" in failed.message


@pytest.mark.parametrize(("client", "backend"), PAIRS)
@pytest.mark.parametrize("explicit", [True, False])
def test_a_stream_cut_anywhere_before_its_finish_is_never_whole(
    client: ApiName, backend: ApiName, explicit: bool
) -> None:
    stream = recorded(f"{backend}.text.sse")
    events = stream.split(b"\n\n")
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    ends = (b'"stop"', b"end_turn", b".completed")
    last = next(at for at, event in enumerate(events) if any(end in event for end in ends))
    for kept in range(last + 1):
        reader = APIS[backend].stream_reader(PLAIN)
        read = reader.feed(b"".join(event + b"\n\n" for event in events[:kept])) + reader.close(explicit)
        assert isinstance(read[-1], Failed)
        assert not any(mark in write_stream(client, request, read) for mark in POLITE)


APPROXIMATED_IN_EVERY_REQUEST = {
    "prompt": ("prompts", "turns"),  # a completion's prompt is a turn elsewhere, and the other way round
    "messages": ("prompts", "turns"),
    "input": ("prompts", "turns"),
    "max_completion_tokens": ("max_output_tokens",),  # messages must have a ceiling
    "max_output_tokens": ("max_output_tokens",),
    "max_tokens": ("max_output_tokens",),
}


def every_probe() -> list[tuple[ApiName, ApiName, str]]:
    return [(client, backend, probe) for client, backend in PAIRS for probe in PROBES[client]]


@pytest.mark.parametrize(("client", "backend", "probe"), every_probe())
def test_a_field_passes_or_its_loss_is_on_record(client: ApiName, backend: ApiName, probe: str) -> None:
    request = APIS[client].read_request(body(client, probe))
    passage = send(request, backend)
    if passage.outgoing is None:
        assert passage.refused
        return
    assert passage.arrived is not None
    losses = {*passage.outgoing.dropped, *passage.outgoing.approximated}
    base = send(APIS[client].read_request(json.dumps(BASES[client]).encode()), backend)
    of_base = {*base.outgoing.dropped, *base.outgoing.approximated} if base.outgoing is not None else set()
    if losses - of_base:
        return
    expected = comparable(request)
    arrived = comparable(passage.arrived)
    for field in of_base:
        for name in APPROXIMATED_IN_EVERY_REQUEST[field]:
            expected.pop(name)
            arrived.pop(name)
    assert arrived == expected
    assert not request.extra or client == backend
