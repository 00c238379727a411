"""A stream that breaks off goes on from another backend: every client reads one answer, whole, said once."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_rig import Rig, RunRig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rescue_rig import (
    INPUT_TOKENS,
    PAIRS,
    PIECES,
    READERS,
    TEXT,
    Broken,
    ScriptedModel,
    add_dialects,
    question,
    rescued,
    stream_of,
)

from headrace.wire.canonical import ReasoningDelta, TextDelta, ToolCallDelta, ToolCallDone, ToolCallStarted
from headrace.wire.dialects import Continuation

cuts = st.builds(
    Broken,
    st.integers(0, 100_000),
    st.lists(st.integers(1, 400), max_size=30),
    st.sampled_from(["reset", "polite"]),
)


@pytest.fixture(autouse=True)
def _dialects(monkeypatch: pytest.MonkeyPatch) -> None:
    add_dialects(monkeypatch)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-by-{'-'.join(pair[1])}-{pair[2]}")
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(cuts, min_size=10, max_size=10))
def test_wherever_it_is_cut_the_client_reads_it_whole(run_rig: RunRig, pair: Any, places: list[Broken]) -> None:
    api, apis, how = pair
    model = ScriptedModel()

    async def scenario(rig: Rig) -> None:
        for broken in places:
            model.breaks(broken)
            status, _, stream, complete = await rig.ask(question(api))
            assert (status, complete) == (200, True), (broken, stream[-600:])
            told = READERS[api](stream)
            assert told.text == TEXT, (broken, stream)
            if told.usage is not None and len(model.asked) > 1:
                assert told.usage == (INPUT_TOKENS, len(PIECES)), (broken, model.asked)
        assert not rig.ledger.open

    rescued(run_rig, scenario, model, apis, how)


@pytest.mark.parametrize("missing_bytes", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-by-{'-'.join(pair[1])}-{pair[2]}")
def test_a_last_event_without_its_blank_line_gets_one(run_rig: RunRig, pair: Any, missing_bytes: int) -> None:
    api, apis, how = pair
    model, stream = ScriptedModel(), stream_of(apis[0])
    at = len(stream) - missing_bytes
    last_event = at - stream.rindex(b"\n\n", 0, at) - 2  # as a chunk of its own, whole lines where one byte is missing

    async def scenario(rig: Rig) -> None:
        for sizes in ([], [at - last_event], [at - 5]):
            for ends in ("polite", "reset"):
                model.breaks(Broken(at, sizes, ends))
                status, _, came, complete = await rig.ask(question(api))
                assert (status, complete) == (200, True), (sizes, ends)
                assert READERS[api](came).text == TEXT, (sizes, ends, came)

    rescued(run_rig, scenario, model, apis, how)


def test_each_attempt_is_billed_for_its_own_and_the_client_is_told_in_a_comment(run_rig: RunRig) -> None:
    model = ScriptedModel()
    half = stream_of("chat").index(b"rivers")

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(half, [100]))
        _, headers, stream, _ = await rig.ask(question("chat"))
        said = len([piece for piece in PIECES if piece in ("The ", "first ", "of ", '"many" ')])
        names = [headers[b"x-headrace-backend"].decode(), *({"b0", "b1"} - {headers[b"x-headrace-backend"].decode()})]
        assert b": headrace-rescued %b\n\n" % names[1].encode() in stream
        first, second = rig.ledger.ended
        assert (first["backend"], first["status"], first["delivered_output_tokens"]) == (names[0], "failed", said)
        assert (second["backend"], second["status"]) == (names[1], "completed")
        assert (second["input_tokens"], second["output_tokens"]) == (INPUT_TOKENS + said, len(PIECES) - said)
        assert model.asked[1][1]["max_tokens"] == 100 - said
        assert rig.gateway.gateway.telemetry.counters.rescues == {"completed": 1}

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT)


CALL = [
    TextDelta("I look. "),
    ToolCallStarted("c1", "find"),
    ToolCallDelta('{"a":'),
    ToolCallDelta("1}"),
    ToolCallDone(),
]
THOUGHT = [ReasoningDelta("Hm, "), ReasoningDelta("well. "), TextDelta("Yes. "), TextDelta("No.")]
FORM = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("events", "mark", "fields", "more"),
    [
        (CALL, b'"arguments"', {}, {}),
        (THOUGHT, b"well", {}, {}),
        (None, b"rivers", FORM, {}),
        (None, b"rivers", {"n": 2}, {}),
        (None, b"rivers", {"logprobs": True}, {}),
        (None, b"rivers", {"guided_regex": "a+"}, {}),
        (None, b"rivers", {}, {"lacks": ("prefill",)}),
    ],
)
def test_what_cannot_be_gone_on_with_is_seen_to_be_broken(
    run_rig: RunRig, events: Any, mark: bytes, fields: dict[str, Any], more: dict[str, Any]
) -> None:
    model = ScriptedModel(events)

    async def scenario(rig: Rig) -> None:
        at = stream_of("chat", events=events).rindex(mark)
        model.breaks(Broken(at, []))
        status, _, stream, complete = await rig.ask(question("chat", **fields))
        assert (status, complete, len(model.asked)) == (200, False, 1)
        assert b"[DONE]" not in stream
        assert b'"finish_reason":"' not in stream
        assert stream.endswith(b"\n\n")
        assert b'data: {"error":' in stream[stream[:-2].rindex(b"\n\n") :]
        assert rig.gateway.gateway.telemetry.counters.rescues == {"impossible": 1}

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT, **more)


def test_backends_that_all_refuse_to_go_on_leave_a_broken_stream(run_rig: RunRig) -> None:
    model = ScriptedModel()
    model.refuses = True

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of("chat").index(b"rivers"), []))
        _, _, stream, complete = await rig.ask(question("chat"))
        assert not complete
        assert b'data: {"error":' in stream
        assert len(model.asked) == 3, "the other backend, and the first one again"
        assert rig.gateway.gateway.telemetry.counters.rescues == {"broken": 1}

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT)


def test_reasoning_that_had_ended_is_no_obstacle(run_rig: RunRig) -> None:
    model = ScriptedModel([ReasoningDelta("Hm."), *map(TextDelta, PIECES)])

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of("chat", events=model.events).index(b"rivers"), []))
        _, _, stream, complete = await rig.ask(question("chat"))
        assert complete
        assert READERS["chat"](stream).text == TEXT

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT)


@pytest.mark.parametrize("mark", [b"many", b"rivers", b"and"])
def test_a_server_that_says_the_text_again_is_not_heard_twice(run_rig: RunRig, mark: bytes) -> None:
    model = ScriptedModel()
    model.repeats = True

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of("chat").index(mark), []))
        _, _, stream, complete = await rig.ask(question("chat"))
        assert complete
        assert READERS["chat"](stream).text == TEXT

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT)


@pytest.mark.parametrize("form", [b'data: {"error":{"message":"gone","type":"server_error"}}\n\n'])
@pytest.mark.parametrize("size", [30, 10_000])
def test_an_error_inside_the_stream_is_not_handed_on_but_gone_on_from(run_rig: RunRig, form: bytes, size: int) -> None:
    model = ScriptedModel()

    async def scenario(rig: Rig) -> None:
        whole = stream_of("chat")
        at = whole.index(b"data:", whole.index(b"rivers"))
        model.raw = whole[:at] + form
        model.breaks(Broken(len(model.raw), [size] * 50, "polite"))
        _, _, stream, complete = await rig.ask(question("chat"))
        assert complete, stream
        assert b"gone" not in stream
        assert READERS["chat"](stream).text == TEXT

    rescued(run_rig, scenario, model, ("chat",), Continuation.TRAILING_ASSISTANT)
