"""The messages of a WebSocket client say what the stream of events says, however its bytes were split."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_rig import recorded

from headrace.errors import RequestError
from headrace.wire.apis.responses import SocketWriter, prepared, read_create, stream_id_of
from headrace.wire.body import top_level
from headrace.wire.sse import EventReader

STREAM = recorded("responses.tools.sse")
FAILED = (
    b'data: {"type":"response.failed","response":{"id":"resp_1","error":{"code":"server_error","message":"m"}}}\n\n'
)
ERROR = b'data: {"type":"error","code":"c","message":"m","param":"p","sequence_number":1}\r\n\r\n'
NESTED = b'data: {"type":"error","status":429,"error":{"type":"rate_limit_error","message":"m","code":"c"}}\n\n'


def written(pieces: list[bytes], stream_id: str = "") -> tuple[list[bytes], bytes, bool]:
    writer = SocketWriter(stream_id)
    writer.tell({"x-headrace-backend": "b"})
    messages = [message for piece in pieces for message in writer.feed(piece)]
    return messages, writer.response, writer.ended


BROKEN = STREAM[: len(STREAM) // 2] + ERROR


@given(
    st.sampled_from([STREAM, STREAM.replace(b"\n", b"\r\n"), BROKEN, FAILED + ERROR, NESTED]),
    st.lists(st.integers(0, len(STREAM) * 2), max_size=20),
    st.sampled_from(["", "lane-1"]),
)
def test_any_split_gives_the_same_messages(stream: bytes, cuts: list[int], stream_id: str) -> None:
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(at)]
    assert written(pieces, stream_id) == written([stream], stream_id)


def test_each_message_is_an_event_with_the_envelope() -> None:
    messages, response, ended = written([STREAM], "lane-1")
    events = [json.loads(data) for data in EventReader().feed(STREAM) if data != b"[DONE]"]
    said = [json.loads(message) for message in messages]
    assert said[0].pop("headrace") == {"x-headrace-backend": "b"}
    assert all(message.pop("stream_id") == "lane-1" for message in said)
    assert (said, ended) == (events, True)
    assert json.loads(response) == events[-1]["response"]


def test_without_an_envelope_an_event_passes_to_the_byte() -> None:
    writer = SocketWriter()
    assert list(writer.feed(STREAM)) == [data for data in EventReader().feed(STREAM) if data != b"[DONE]"]


@pytest.mark.parametrize("stream_id", ["", "l"])
def test_an_event_without_fields_stays_json(stream_id: str) -> None:
    assert [json.loads(message) for message in SocketWriter(stream_id).feed(b"data: { }\n\n")] == [{}]


def test_nothing_follows_the_last_message() -> None:
    messages, _, _ = written([FAILED + ERROR])
    assert len(messages) == 1
    writer = SocketWriter()
    list(writer.feed(FAILED))
    assert writer.broken() == []


def test_text_that_looks_like_a_last_event_is_none() -> None:
    looks = json.dumps({"type": "response.output_text.delta", "delta": '"type":"response.completed"'})
    inside = json.dumps({"type": "response.created", "response": {"error": {"type": "error"}}})
    writer = SocketWriter()
    assert len(list(writer.feed(f"data: {looks}\n\ndata: {inside}\n\n".encode()))) == 2
    assert not writer.ended


@pytest.mark.parametrize(
    ("body", "inner"),
    [
        (b'{"error":{"type":"t","message":"m"}}', {"type": "t", "message": "m", "headers": {"retry-after": "1"}}),
        (b"<html>", None),
        (b'{"error":"text"}', None),
        (b"[]", None),
    ],
)
def test_an_error_is_always_an_object(body: bytes, inner: dict[str, Any] | None) -> None:
    said = json.loads(SocketWriter("l").error(500, body, {"retry-after": "1"}))
    assert (said["type"], said["status"], said["stream_id"]) == ("error", 500, "l")
    assert said["error"] == inner or (inner is None and said["error"]["message"])


def test_a_request_is_a_body_without_its_envelope() -> None:
    message = b'{"type":"response.create","stream_id":"l","generate":true,"stream":false,"model":"m","input":[1.0],'
    message += b'"previous_response_id":"resp_1"}'
    fields = top_level(message)
    assert stream_id_of(fields) == "l"
    create = read_create(fields)
    assert json.loads(create.body) == {"model": "m", "input": [1.0], "stream": True}
    assert b"[1.0]" in create.body, "as it came"
    assert (create.goes_on_from, create.generate) == ("resp_1", True)
    assert not read_create(top_level(b'{"type":"response.create","generate":false}')).generate


@pytest.mark.parametrize("name", ["", "a b", "x" * 257, "é"])
def test_a_lane_has_a_name_that_the_description_allows(name: str) -> None:
    with pytest.raises(RequestError):
        stream_id_of(top_level(json.dumps({"stream_id": name}).encode()))


def test_a_prepared_state_is_a_complete_response_without_output() -> None:
    events = [json.loads(data) for data in EventReader().feed(prepared(b'{"model":"m","input":"hi"}', "1", 5))]
    assert [event["type"] for event in events][-1] == "response.completed"
    response = events[-1]["response"]
    assert (response["id"], response["output"], response["usage"]["total_tokens"]) == ("resp_1", [], 0)
