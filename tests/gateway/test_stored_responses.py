"""Conversations of the Responses API that go on by an id: the state is the gateway's, whichever backend answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import uvloop
from emulated_rig import Ask, emulated, through
from msgspec import Raw

from headrace.errors import UnknownResponse
from headrace.gateway.shelves import SharedShelf
from headrace.gateway.stored import ResponseStore
from headrace.policy import PolicyEngine

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
SCRIPT = [{"text": "one", "calls": [{"name": "f", "arguments": {"a": 1}}]}, {"text": "two"}, {"text": "three"}]
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def response_of(body: bytes) -> dict[str, Any]:
    if body.startswith(b"{"):
        return dict(json.loads(body))
    (last,) = [line for line in body.split(b"\n") if b'"type":"response.completed"' in line]
    return dict(json.loads(last.removeprefix(b"data: "))["response"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", ["only-chat", "only-messages", "only-responses"])
def test_a_conversation_goes_on_from_a_stored_answer(dialect: str, stream: bool) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        asked = {"path": "/v1/responses", "stream": stream, "tools": [TOOL], "max_output_tokens": 300}
        _, _, body, _ = await ask(input="hi", **asked)
        first = response_of(body)
        (call,) = [item for item in first["output"] if item["type"] == "function_call"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "4"}
        _, _, body, _ = await ask(input=[result], previous_response_id=first["id"], **asked)
        second = response_of(body)
        assert second["output"][0]["content"][0]["text"] == "two"
        _, _, body, _ = await ask(input="and?", previous_response_id=second["id"], **asked)
        assert response_of(body)["output"][0]["content"][0]["text"] == "three", "the whole conversation was sent"
        _, _, body, _ = await ask(input=[result], previous_response_id=first["id"], **asked)
        assert response_of(body)["output"][0]["content"][0]["text"] == "two", "an older answer is a place to go on, too"

    through(scenario, dialect, script=SCRIPT)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", ["only-chat", "only-responses"])
def test_a_stored_answer_is_read_again_and_forgotten_by_who_asked_for_it(dialect: str, stream: bool) -> None:
    async def run() -> None:
        async with emulated(dialect, script=SCRIPT) as live:
            mine, asked = "authorization: Bearer a\r\n", {"path": "/v1/responses", "max_output_tokens": 300}
            kept = response_of((await live.ask(headers=mine, input="hi", stream=stream, **asked))[2])
            place = f"/v1/responses/{kept['id']}"
            status, _, body = await live.get(place, headers=mine)
            assert (status, json.loads(body)) == (200, kept)
            status, _, body = await live.get(f"{place}/input_items", headers=mine)
            assert [item["content"] for item in json.loads(body)["data"]] == ["hi"]
            assert (await live.get(place))[0] == 404, "it is not for others"
            assert (await live.get(place, "DELETE"))[0] == 404
            assert (await live.get(f"{place}/input_items", "DELETE", mine))[0] == 405
            status, _, body = await live.get(place, "DELETE", mine)
            assert (status, json.loads(body)["deleted"]) == (200, True)
            assert (await live.get(place, headers=mine))[0] == 404

    uvloop.run(run())


def test_what_was_not_to_be_stored_is_not_and_nobody_else_gets_at_what_was() -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        asked = {"path": "/v1/responses", "max_output_tokens": 300}
        kept = response_of((await ask(headers="authorization: Bearer a\r\n", input="hi", **asked))[2])
        not_kept = response_of((await ask(headers="authorization: Bearer a\r\n", input="hi", store=False, **asked))[2])
        for owner, response_id, expected in (("a", kept, 200), ("b", kept, 400), ("a", not_kept, 400)):
            headers = f"authorization: Bearer {owner}\r\n"
            status, _, body, _ = await ask(headers=headers, input="on", previous_response_id=response_id["id"], **asked)
            assert status == expected
            if status == 400:
                error = json.loads(body)["error"]
                assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")

    through(scenario, "only-chat", script=SCRIPT)


def answer(response_id: str, text: str = "x") -> bytes:
    return json.dumps(
        {"id": response_id, "object": "response", "output": [{"type": "message", "content": text}]}
    ).encode()


def test_the_store_keeps_to_its_bounds_and_forgets_the_oldest_unused() -> None:
    store = ResponseStore(max_entries=2, max_bytes=5000)
    for name in ("resp_a", "resp_b"):
        store.keep(b"o", b'{"input":"i"}', answer(name))
    store.continued(b"o", "resp_a", b'{"previous_response_id":"resp_a"}')
    store.keep(b"o", b'{"input":"i"}', answer("resp_c"))
    with pytest.raises(UnknownResponse):
        store.continued(b"o", "resp_b", b'{"previous_response_id":"resp_b"}')
    assert len(store) == 2
    store.keep(b"o", b'{"input":"i"}', answer("resp_d", "y" * 4200))
    assert (len(store), store.size_bytes <= 5000) == (1, True)
    store.keep(b"o", b'{"input":"i"}', answer("resp_e", "y" * 6000))
    assert len(store) == 1, "what is too large for all of it drives nobody out"


def test_workers_go_on_from_what_any_of_them_has_stored(tmp_path: Path) -> None:
    def store(number: int) -> ResponseStore:
        return ResponseStore(2, 50_000, SharedShelf(tmp_path / "shelf", number, 3))

    first, second, third = (store(number) for number in range(3))
    first.keep(b"o", b'{"input":"i"}', answer("resp_1"))
    assert b'"x"' in second.continued(b"o", "resp_1", b'{"previous_response_id":"resp_1"}')
    assert third.response(b"somebody else", "resp_1") is None
    third.forget(b"o", "resp_1")
    assert [each.response(b"o", "resp_1") for each in (first, second, third)] == [None] * 3
    for name in ("resp_2", "resp_3", "resp_4"):
        second.keep(b"o", b'{"input":"i"}', answer(name))
    assert first.response(b"o", "resp_2") is None, "each keeps to its own bounds"
    assert len(list((tmp_path / "shelf").iterdir())) == 2
    again = store(1)
    assert again.response(b"o", "resp_4") is None, "what a crashed worker had stored is dropped"
    assert not list((tmp_path / "shelf").iterdir())


@pytest.mark.parametrize("ends_as", ["response.completed", "response.incomplete"])
def test_of_a_stream_only_its_end_is_kept(ends_as: str) -> None:
    """Its end holds the whole answer: what came before it took ten times its room."""
    store = ResponseStore(max_entries=2, max_bytes=50_000)
    delta = json.dumps({"type": "response.output_text.delta", "delta": f"\nevent: {ends_as}"})
    deltas = f"event: response.output_text.delta\ndata: {delta}\n\n" * 100
    end = json.dumps({"type": ends_as, "response": json.loads(answer("resp_1"))})
    store.keep(b"", b'{"input":"i"}', f"{deltas}event: {ends_as}\ndata: {end}\n\n".encode())
    assert store.size_bytes < 1000
    assert json.loads(store.response(b"", "resp_1") or b"") == json.loads(answer("resp_1"))


def test_items_go_on_as_they_came() -> None:
    store = ResponseStore(max_entries=2, max_bytes=50_000)
    store.keep(b"", b'{"input":[{"type":"x","n":1.50}]}', b'{"id": "resp_1","output":[{"type":"reasoning","z":[ 1 ]}]}')
    body = store.continued(b"", "resp_1", b'{"previous_response_id":"resp_1","input":"on","temperature":0.10}')
    said = b'{"type":"message","role":"user","content":"on"}'
    expected = b'{"input":[{"type":"x","n":1.50},{"type":"reasoning","z":[ 1 ]},%b]' % said
    assert Raw(body) == Raw(expected + b',"temperature":0.10}')
