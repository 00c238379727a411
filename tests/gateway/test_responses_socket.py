"""The Responses API over a WebSocket: what Codex and the openai SDK send, and what a raw client can do to it."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
import uvloop
from emulated_rig import MODEL, Live, emulated
from gateway_rig import LAST, SSE_HEAD, Rig, RunRig, ScriptedBackend, chunk, error_response
from socket_rig import TOKENS, Client, client_of, over, text_of
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headrace.fleet import Limits
from headrace.policy import ClientGone, Finished

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SCRIPT = [{"text": "one", "calls": [{"name": "f", "arguments": {"a": 1}}]}, {"text": "two"}, {"text": "three"}]


@pytest.mark.parametrize("dialect", ["only-chat", "only-messages", "only-responses"])
def test_a_tool_loop_goes_on_by_id_though_nothing_is_to_be_stored(dialect: str) -> None:
    async def scenario(client: Client, live: Live) -> None:
        asked = {"store": False, "tools": [TOOL], "max_output_tokens": 300}
        first = await client.answer(input="hi", **asked)
        assert [event["type"] for event in first if event["type"] == "response.output_item.done"]
        assert (first[0]["type"], text_of(first)) == ("response.created", "one")
        assert [event["sequence_number"] for event in first] == list(range(len(first)))
        response = first[-1]["response"]
        (call,) = [item for item in response["output"] if item["type"] == "function_call"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "4"}
        second = await client.answer(input=[result], previous_response_id=response["id"], **asked)
        assert text_of(second) == "two"
        third = await client.answer(input="and?", previous_response_id=second[-1]["response"]["id"], **asked)
        assert text_of(third) == "three", "the whole conversation was sent"
        old = await client.answer(input=[result], previous_response_id=response["id"], **asked)
        assert old[-1]["error"]["code"] == "previous_response_not_found", "of what is not stored, the last one is kept"

    over(scenario, dialect, script=SCRIPT)


def test_what_is_not_stored_is_there_for_its_connection_alone_and_what_is_stored_for_its_owner() -> None:
    async def scenario(client: Client, live: Live) -> None:
        here = (await client.answer(input="hi", store=False, max_output_tokens=300))[-1]["response"]["id"]
        kept = (await client.answer(input="hi", max_output_tokens=300))[-1]["response"]["id"]
        async with client_of(live.gateway.port) as other:
            missed = await other.answer(input="on", previous_response_id=here)
            assert (missed[-1]["status"], missed[-1]["error"]["param"]) == (400, "previous_response_id")
            assert text_of(await other.answer(input="on", previous_response_id=kept, max_output_tokens=300))
        async with client_of(live.gateway.port, authorization="Bearer b") as stranger:
            assert (await stranger.answer(input="on", previous_response_id=kept))[-1]["type"] == "error"
        store = live.gateway.gateway.intake.store
        assert len(store) == 3, "two stored and one of this connection"
        await client.connection.close()
        while len(store) != 2:
            await asyncio.sleep(0.001)

    over(scenario, "only-chat")


def test_a_state_can_be_prepared_without_asking_the_model() -> None:
    async def scenario(client: Client, live: Live) -> None:
        prepared = await client.answer(input="remember this", instructions="be brief", generate=False, store=False)
        assert [event["type"] for event in prepared] == [
            "response.created",
            "response.in_progress",
            "response.completed",
        ]
        assert prepared[-1]["response"]["output"] == []
        assert live.ledger.ended == [], "no backend was asked"
        goes_on = await client.answer(input="and?", previous_response_id=prepared[-1]["response"]["id"])
        assert goes_on[-1]["type"] == "response.completed"
        assert (await client.answer(input="x", generate=False, model="no such"))[-1]["status"] == 404

    over(scenario, "only-chat")


def test_lanes_answer_beside_each_other_and_each_in_order(run_rig: RunRig) -> None:
    delta = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
    completed = b'data: {"type":"response.completed","response":{"output":[]}}\n\n'
    both = asyncio.Event()

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(delta))
        if len(backend.bodies) >= 2:
            both.set()
        await both.wait()
        writer.write(chunk(completed) + LAST)
        await writer.drain()

    backend = ScriptedBackend(together)

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            for asked in ("a1", "a2", "b1", "b2"):
                await client.create(model="m", input=asked, stream_id=asked[0])
            ended = [await client.event() for _ in range(8)]
            for lane in ("a", "b"):
                kinds = [event["type"].rpartition(".")[2] for event in ended if event["stream_id"] == lane]
                assert kinds == ["delta", "completed"] * 2, "a lane answers one request at a time"
        asked = [body["input"] for body in backend.bodies]
        assert sorted(asked[:2]) == ["a1", "b1"], "neither lane waited for the other"
        assert sorted(asked[2:]) == ["a2", "b2"]

    run_rig(scenario, backend)


def test_a_lane_may_fork_from_what_another_lane_was_answered() -> None:
    async def scenario(client: Client, live: Live) -> None:
        first = await client.answer(input="hi", stream_id="a", store=False)
        forked = await client.answer(
            input="on", stream_id="b", store=False, previous_response_id=first[-1]["response"]["id"]
        )
        assert (forked[-1]["type"], forked[-1]["stream_id"]) == ("response.completed", "b")

    over(scenario, "only-chat")


def test_limits_of_lanes_and_of_what_waits() -> None:
    async def scenario(client: Client, live: Live) -> None:
        for stream_id in ("a", "a", "a", "b"):
            await client.create(input="hi", stream_id=stream_id)
        full, lanes = await client.event(), await client.event()
        assert (full["status"], full["error"]["code"], full["stream_id"]) == (429, "rate_limit_exceeded", "a")
        assert full["error"]["headers"] == {"retry-after": "1"}
        assert (lanes["status"], lanes["error"]["code"]) == (400, "websocket_stream_limit_reached")
        assert (lanes["error"]["param"], lanes["stream_id"]) == ("stream_id", "b")
        assert [(await client.rest())[-1]["type"] for _ in range(2)] == ["response.completed"] * 2

    over(scenario, "only-chat", limits=Limits(websocket_lanes=1, websocket_queue=1))


def test_a_connection_that_is_too_old_says_so_and_ends() -> None:
    async def scenario(client: Client, live: Live) -> None:
        opened_s = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() == opened_s:
            await asyncio.sleep(0)
        (refused,) = await client.answer(input="hi")
        assert (refused["status"], refused["error"]["code"]) == (400, "websocket_connection_limit_reached")
        with pytest.raises(ConnectionClosed) as closed:
            await client.event()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000

    over(scenario, "only-chat", limits=Limits(websocket_lifetime_s=1e-9))


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("no json", None),
        ("[]", None),
        ('{"model": "m"}', "type"),
        ('{"type": "response.steer"}', "type"),
        ('{"type": 1}', "type"),
        ('{"type": "response.create", "stream_id": "no spaces"}', "stream_id"),
        ('{"type": "response.create", "stream_id": 1}', "stream_id"),
        ('{"type": "response.create", "background": true}', "background"),
        ('{"type": "response.create", "generate": "no"}', "generate"),
        ('{"type": "response.create", "input": "no model"}', "model"),
        ('{"type": "response.create", "model": "no such"}', "model"),
        (f'{{"type": "response.create", "model": "{MODEL}", "previous_response_id": "x"}}', "previous_response_id"),
        (f'{{"type": "response.create", "model": "{MODEL}", "input": 1}}', "input"),
        (f'{{"type": "response.create", "model": "{MODEL}", "input": 1, "generate": false}}', "input"),
    ],
)
def test_a_bad_message_is_an_error_event_and_the_connection_goes_on(message: str, param: str | None) -> None:
    async def scenario(client: Client, live: Live) -> None:
        await client.connection.send(message)
        error = await client.event()
        assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
        assert (error["error"]["param"], error["status"]) in ((param, 400), (param, 404))
        assert (await client.answer(input="hi"))[-1]["type"] == "response.completed"

    over(scenario, "only-chat")


def test_what_headrace_says_in_header_lines_is_in_the_first_message() -> None:
    async def scenario(client: Client, live: Live) -> None:
        asked = {"stream_id": "a", "max_tool_calls": 3, "headrace": {"explain": True}}
        first, *others = await client.answer(input="hi", **asked)
        said = first["headrace"]
        assert (said["x-headrace-backend"], said["x-headrace-dropped"]) == ("b0", "max_tool_calls")
        assert json.loads(said["x-headrace-explain"])[0]["backend"] == "b0"
        assert not any("headrace" in event for event in others)
        assert all(event["stream_id"] == "a" for event in others)

    over(scenario, "only-chat")


@pytest.mark.parametrize("dialect", ["only-chat", "only-responses"])
@pytest.mark.parametrize("fault", ["cut@300", "polite@300", "overloaded@300"])
def test_an_answer_that_breaks_is_never_complete(dialect: str, fault: str) -> None:
    async def run() -> None:
        headers = {"x-headrace-emulated-fault": fault, TOKENS: "400"}
        async with emulated(dialect) as live, client_of(live.gateway.port, **headers) as client:
            events = await client.answer(input="hi")
            assert text_of(events)
            assert events[-1]["type"] in ("error", "response.failed")
            prepared = await client.answer(input="hi", generate=False)
            assert prepared[0]["type"] == "response.created", "nothing came behind the last event"

    uvloop.run(run())


def test_bytes_of_a_backend_that_are_no_text_break_the_answer_and_not_the_connection(run_rig: RunRig) -> None:
    delta = b'data: {"type":"response.output_text.delta","delta":"%b"}\n\n'
    backend = ScriptedBackend(SSE_HEAD + chunk(delta % b"a", delta % b"\xff", delta % b"c"))

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            first, last = await client.answer(model="m", input="hi")
            assert (first["delta"], last["status"], last["error"]["code"]) == ("a", 502, "backend_error")
            await asyncio.wait_for(backend.gone.wait(), 5)

    run_rig(scenario, backend)


def test_an_error_in_a_stream_that_passes_ends_the_response_as_failed(run_rig: RunRig) -> None:
    delta = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
    flat = b'data: {"type":"error","code":"server_error","message":"sorry","param":null,"sequence_number":2}\n\n'

    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(delta))
        await told.wait()  # an error that came in one piece with it would be no part of an answer
        writer.write(chunk(flat) + LAST)

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            await client.create(model="m", input="hi")
            assert (await client.event())["delta"] == "a"
            told.set()
            last = (await client.rest())[-1]
            assert last["type"] == "response.failed"
            assert last["response"]["error"] == {"code": "server_error", "message": "sorry"}

    told = asyncio.Event()
    run_rig(scenario, ScriptedBackend(says))


def test_a_whole_response_where_a_stream_was_asked_for_is_said_in_events(run_rig: RunRig) -> None:
    item = {"type": "message", "role": "assistant", "content": []}
    body = json.dumps({"id": "resp_1", "status": "completed", "output": [item]}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            events = await client.answer(model="m", input="hi", store=False)
            kinds = ["response.created", "response.output_item.done", "response.completed"]
            assert [event["type"] for event in events] == kinds
            assert events[1]["item"] == item
            assert (await client.answer(model="m", input="on", previous_response_id="resp_1"))[-1] == events[-1]

    backend = ScriptedBackend(head + body)
    run_rig(scenario, backend)
    assert backend.bodies[1]["input"] == [
        {"type": "message", "role": "user", "content": "hi"},
        item,
        {"type": "message", "role": "user", "content": "on"},
    ]


def test_an_error_of_the_backend_is_an_event_with_its_status(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            (refused,) = await client.answer(model="m", input="hi", stream_id="l")
            assert (refused["status"], refused["error"]["message"], refused["stream_id"]) == (400, "theirs", "l")
            (down,) = await client.answer(model="m", input="hi")
            assert (down["status"], down["error"]["headers"]) == (503, {"retry-after": "2"})

    run_rig(scenario, ScriptedBackend(error_response(400), error_response(500)))


def test_a_client_that_goes_away_cancels_what_is_in_progress_and_what_waits(run_rig: RunRig) -> None:
    delta = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(delta))
        await reader.read()
        backend.gone.set()

    backend = ScriptedBackend(hang)

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client:
            await client.create(model="m", input="hi")
            await client.create(model="m", input="waits")
            await client.event()
        await asyncio.wait_for(backend.gone.wait(), 5)
        assert len(rig.engine.of(ClientGone)) == 1
        assert (len(backend.bodies), rig.engine.of(Finished)) == (1, [])

    run_rig(scenario, backend)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_page_of_another_site_may_not_connect(headers: dict[str, str], status: int) -> None:
    async def run() -> None:
        async with emulated("only-chat") as live:
            url = f"ws://127.0.0.1:{live.gateway.port}/v1/responses"
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers=headers)
            assert refused.value.response.status_code == status
            async with connect(url, additional_headers={"Origin": f"http://127.0.0.1:{live.gateway.port}"}):
                pass

    uvloop.run(run())


def test_a_gateway_that_shuts_down_ends_what_is_in_progress_and_takes_nothing_new(run_rig: RunRig) -> None:
    going_on = asyncio.Event()
    delta = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
    completed = b'data: {"type":"response.completed","response":{"id":"resp_1","output":[]}}\n\n'

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(delta))
        await going_on.wait()
        writer.write(chunk(completed) + LAST)
        await writer.drain()

    async def scenario(rig: Rig) -> None:
        async with client_of(rig.gateway.port) as client, client_of(rig.gateway.port) as idle:
            await client.create(model="m", input="hi")
            assert (await client.event())["delta"] == "a"
            closing = asyncio.ensure_future(rig.gateway.close(5.0))
            with pytest.raises(ConnectionClosed) as closed:
                await idle.event()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            (refused,) = await client.answer(model="m", input="too late")
            assert refused["status"] == 503
            going_on.set()
            assert (await client.event())["type"] == "response.completed"
            with pytest.raises(ConnectionClosed):
                await client.event()
            assert await closing

    run_rig(scenario, ScriptedBackend(slowly))


@pytest.mark.parametrize("dialect", ["only-chat", "only-responses"])
def test_openais_own_sdk_holds_a_conversation(dialect: str) -> None:
    async def run() -> None:
        async with emulated(dialect, script=SCRIPT) as live:
            base_url = f"http://127.0.0.1:{live.gateway.port}/v1"
            sdk = openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)
            async with sdk, sdk.responses.connect() as connection:
                previous, said = None, []
                for asked in ("hi", "on", "and?"):
                    await connection.response.create(
                        model=MODEL, input=asked, store=False, previous_response_id=previous, max_output_tokens=300
                    )
                    async for event in connection:
                        if event.type == "response.output_text.delta":
                            said.append(event.delta)
                        elif event.type == "response.completed":
                            previous = event.response.id
                            break
                assert "".join(said) == "onetwothree", "the model saw the whole conversation each time"
                await connection.response.create(model="no such", input="hi")
                error = await anext(aiter(connection))
                assert (error.type, error.status, error.error.code) == ("error", 404, "model_not_found")

    uvloop.run(run())
