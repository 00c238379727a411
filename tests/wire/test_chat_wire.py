"""Chat on the wire: what is decoded of a request, what is edited, what is read of an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import errors
from headrace.errors import HeadraceError, RequestError, UnknownModel
from headrace.wire import (
    DONE,
    WIRE_ERRORS,
    Usage,
    chat_chunk,
    chat_completion,
    chat_usage_chunk,
    completion_usage,
    decode_head,
    encode_error,
    has_token,
    is_usage_event,
    model_list,
    stream_end,
    wire_error,
    with_include_usage,
    with_model,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ROLE = chat_chunk("c", "m", 1, "", role=True)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.sampled_from(["absent", None, {}, {"include_usage": False}, {"include_usage": True, "x": [1]}]),
    st.booleans(),
)
def test_asking_for_usage_changes_nothing_else(extra: dict[str, object], options: object, pretty: bool) -> None:
    fields = {**extra, "model": "m", "stream": True, "n": 1, "max_tokens": 5, "max_completion_tokens": None}
    fields.pop("stream_options", None)
    if options != "absent":
        fields["stream_options"] = options
    body = json.dumps(fields, indent=2 if pretty else None).encode()
    edited = json.loads(with_include_usage(body, decode_head("chat", body)))
    assert edited.pop("stream_options")["include_usage"] is True
    fields.pop("stream_options", None)
    assert edited == fields


def test_a_body_that_asks_for_usage_already_is_not_touched() -> None:
    body = b'{"model":"m","stream_options":{"include_usage":true}}'
    assert with_include_usage(body, decode_head("chat", body)) is body


def test_only_the_top_level_model_is_renamed() -> None:
    body = b'{"tools":[{"model":"alias"}],"model":"alias","x":1.50}'
    assert with_model(body, "real") == b'{"tools":[{"model":"alias"}],"model":"real","x":1.50}'


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b"", None, "not JSON"),
        (b"hello", None, "not JSON"),
        (b'{"model":"m"', None, "not JSON"),
        (b'{"model":"\xff"}', None, "not JSON"),
        (b'{"model":"m","messages":[}', None, "not JSON"),
        (b"[]", None, "Expected `object`"),
        (b"{}", "model", "model"),
        (b'{"model":7}', "model", "Expected `str`"),
        (b'{"model":"m","max_tokens":"many"}', "max_tokens", "Expected `int | null`"),
    ],
)
def test_a_bad_body_is_the_clients_fault_and_the_message_says_where(
    body: bytes, param: str | None, message: str
) -> None:
    with pytest.raises(RequestError, match=message.replace("|", r"\|")) as caught:
        decode_head("chat", body)
    assert caught.value.param == param


def test_the_ceiling_counts_every_choice_and_prefers_the_newer_name() -> None:
    assert decode_head("chat", b'{"model":"m"}').output_ceiling is None
    assert decode_head("chat", b'{"model":"m","max_tokens":5}').output_ceiling == 5
    assert decode_head("chat", b'{"model":"m","max_tokens":5,"max_completion_tokens":7,"n":2}').output_ceiling == 14
    assert decode_head("chat", b'{"model":"m","max_tokens":-5}').output_ceiling == 0


def test_what_we_encode_is_what_clients_read() -> None:
    first = json.loads(ROLE[6:])
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    last = json.loads(chat_chunk("c", "m", 1, None, finish_reason="length")[6:])
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "length")
    whole = json.loads(
        chat_completion(
            "c", "m", 1, 'a"b', finish_reason="stop", input_tokens=3, output_tokens=4, cached_input_tokens=1
        )
    )
    assert whole["choices"][0]["message"]["content"] == 'a"b'
    assert whole["usage"]["total_tokens"] == 7
    for answer in (first, last, whole, json.loads(chat_usage_chunk("c", "m", 1, 1, 2)[6:])):
        assert isinstance(answer["system_fingerprint"], str)  # without, a provider's SDK takes chunks for another type
    assert [model["id"] for model in json.loads(model_list(["a", "b"]))["data"]] == ["a", "b"]


@pytest.mark.parametrize("filler", ["", "x" * 100_000, '"usage":{"prompt_tokens":1}' * 4000])
def test_usage_of_a_whole_answer_is_found_however_long_it_is(filler: str) -> None:
    body = chat_completion(
        "c", "m", 1, filler, finish_reason="stop", input_tokens=7, output_tokens=9, cached_input_tokens=2
    )
    assert completion_usage(body) == Usage(7, 9, 2)


def test_an_answer_without_usage_has_none_and_garbage_is_refused() -> None:
    assert completion_usage(b'{"choices":[]}') is None
    assert completion_usage(b'{"usage":{"prompt_tokens":"seven"},"choices":[]}') is None
    for garbage in (b"", b"<html>", b'{"a":', b"x" * 100_000):
        with pytest.raises(ValueError, match="not"):
            completion_usage(garbage)


def test_groq_puts_usage_elsewhere() -> None:
    event = (
        b'data: {"choices":[{"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":4}}}\n\n'
    )
    assert stream_end(event + DONE).usage == Usage(3, 4)


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        (b'data: {"error":{"message":"m"}}\n\n', True),
        (b'data: {"choices":[],"x_groq":{"error":"over"}}\n\n', True),
        (b'data: {"choices":[],"error":null}\n\n', False),
    ],
)
def test_an_error_inside_a_stream_is_seen(event: bytes, failed: bool) -> None:
    end = stream_end(event + DONE)
    assert (end.failed, end.done, end.finished) == (failed, True, False)


@pytest.mark.parametrize(
    ("payload", "begun"),
    [
        (b"", False),
        (b": keep-alive\n\n", False),
        (ROLE, False),
        (chat_chunk("c", "m", 1, "x")[:-1], False),  # the event is not whole
        (ROLE + chat_chunk("c", "m", 1, "x"), True),
        (chat_chunk("c", "m", 1, "x").replace(b'"content"', b'"reasoning"'), True),
        (b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n', True),
        (b'data: {"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}\n\n', False),
        (chat_chunk("c", "m", 1, None, finish_reason="stop"), True),
        (DONE, True),
    ],
)
def test_the_first_token_is_the_first_piece_of_any_answer(payload: bytes, begun: bool) -> None:
    assert has_token(payload) is begun


def test_a_usage_event_has_no_choices_and_a_usage() -> None:
    assert is_usage_event(chat_usage_chunk("c", "m", 1, 1, 2))
    assert not is_usage_event(b'data: {"choices":[],"usage":null}\n\n')
    assert not is_usage_event(b'data: {"choices":[{}],"usage":{"prompt_tokens":1}}\n\n')
    assert not is_usage_event(b'data: "usage"\n\n')
    assert not is_usage_event(DONE)


def test_every_class_of_error_has_a_row_and_a_label_of_its_own() -> None:
    def tree(kind: type[HeadraceError]) -> list[type[HeadraceError]]:
        return [kind] + [found for child in kind.__subclasses__() for found in tree(child)]

    ours = [kind for kind in tree(HeadraceError) if kind.__module__ == errors.__name__]
    assert set(ours) == set(WIRE_ERRORS)
    labels = [row.label for row in WIRE_ERRORS.values()]
    assert len(set(labels)) == len(labels)
    assert all(400 <= row.status < 600 for row in WIRE_ERRORS.values())


def test_an_error_is_encoded_in_openais_shape() -> None:
    status, body = encode_error(UnknownModel("no such model", "model"))
    assert status == 404
    assert json.loads(body) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_an_error_of_an_unlisted_subclass_takes_the_row_of_its_parent() -> None:
    class Odd(UnknownModel):
        pass

    assert wire_error(Odd("x")) is WIRE_ERRORS[UnknownModel]
