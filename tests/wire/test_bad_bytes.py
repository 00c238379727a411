"""Whatever bytes come in, a request is read or refused with a RequestError, an answer is read or is a BackendError.

Mutations start from requests and answers that are good, so they reach every reader's inside.
"""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import BASES, PROBES
from wire_rig import ANSWER_ID, API_NAMES, CHATTY, accepting, read_stream, recorded

from headrace.errors import BackendError, RequestError
from headrace.wire import client_error, read_error
from headrace.wire.apis import APIS, PLAIN, ApiName
from headrace.wire.apis.embeddings import read_answer as read_vectors
from headrace.wire.apis.embeddings import read_request as read_embedding
from headrace.wire.apis.embeddings import write_answer as write_vectors
from headrace.wire.apis.errors import error_body, said_failure
from headrace.wire.canonical import Failed, fold

KEYS = ["type", "id", "text", "x"]
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["user", "tool", "function", "message", "text", "assistant", "auto", "\ud83d\ude00", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
EVENTS = read_stream("chat", recorded("chat.tools.sse"))
places = st.lists(st.integers(0, 1_000), min_size=1, max_size=8)


def mutated(value: Any, way: list[int], put: Any) -> Any:
    """The value with `put` somewhere inside, or with something left out."""
    value = copy.deepcopy(value)
    node, parent, key = value, None, None
    for step in way:
        if isinstance(node, dict) and node:
            parent, key = node, sorted(node)[step % len(node)]
        elif isinstance(node, list) and node:
            parent, key = node, step % len(node)
        else:
            break
        node = parent[key]
    if parent is None:
        return put
    if put == "" and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = put
    return value


def try_request(api: ApiName, body: bytes) -> None:
    """Read it, and write it for everybody if it could be read."""
    with suppress(RequestError):
        request = APIS[api].read_request(body)
        for backend in APIS.values():
            with suppress(RequestError):
                json.loads(backend.write_request(request, accepting()).body)
            backend.stream_writer(request, ANSWER_ID, 0).write_all(EVENTS)


@pytest.mark.parametrize("api", API_NAMES)
@settings(max_examples=250, deadline=None)
@given(st.data(), places, junk)
def test_a_request_with_something_wrong_inside_is_read_or_refused(
    api: ApiName, data: st.DataObject, way: list[int], put: Any
) -> None:
    good = data.draw(st.sampled_from(sorted(PROBES[api])))
    bodies = [BASES[api] | PROBES[api][good], json.loads(recorded(f"{api}.request.json"))]
    for body in bodies:
        try_request(api, json.dumps(mutated(body, way, put), ensure_ascii=False).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("api", API_NAMES)
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5_000), st.binary(max_size=4))
def test_a_request_cut_or_overwritten_anywhere_is_read_or_refused(api: ApiName, place: int, put: bytes) -> None:
    body = recorded(f"{api}.request.json").strip()
    place %= len(body)
    with pytest.raises(RequestError):
        APIS[api].read_request(body[:place])
    try_request(api, body[:place] + put + body[place + len(put) :])


DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_OBJECTS = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
HI = {"role": "user", "content": "hi"}


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


WRONG: list[tuple[ApiName, dict[str, Any], str]] = [
    ("chat", user(1), "messages[0].content"),
    ("chat", user(None), "messages[0].content"),
    ("chat", {"messages": [{"content": "hi"}]}, "messages[0].role"),
    ("chat", {"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
    ("chat", {"messages": []}, "messages"),
    ("chat", {"model": 1}, "model"),
    ("chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ("chat", user([{"type": "hologram"}]), "messages[0].content[0]"),
    ("chat", {"temperature": "hot"}, "temperature"),
    ("chat", {"tools": [{"type": "function"}]}, "tools[0].function"),
    ("chat", {"tool_choice": 7}, "tool_choice"),
    ("chat", {"functions": []}, "functions"),
    ("completions", {"prompt": None}, "prompt"),
    ("completions", {"prompt": [1, "a"]}, "prompt"),
    ("completions", {"prompt": {}}, "prompt"),
    ("responses", {"input": []}, "input"),
    ("responses", {"input": [{"role": "user"}]}, "input[0].content"),
    ("responses", {"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
    ("responses", {"tools": [{"type": "function"}]}, "tools[0].name"),
    ("responses", {"tools": [{}]}, "tools[0].type"),
    ("responses", {"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ("messages", {"max_tokens": None}, "max_tokens"),
    ("messages", {"max_tokens": "1"}, "max_tokens"),
    ("messages", {"messages": [{"role": "user"}]}, "messages[0].content"),
    ("messages", user([{"type": "text"}]), "messages[0].content[0].text"),
    ("messages", user([{"type": "image", "source": {"type": "x"}}]), "messages[0].content[0].source"),
    ("messages", {"tool_choice": {"type": "x"}}, "tool_choice.type"),
]


@pytest.mark.parametrize(("api", "fields", "param"), WRONG)
def test_a_bad_field_is_named_as_the_client_spelled_it(api: ApiName, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        APIS[api].read_request(json.dumps(BASES[api] | fields).encode())
    assert caught.value.param == param


@pytest.mark.parametrize("api", API_NAMES)
@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999", b'"\xff"', b'"\\ud800"', b"", b'"'])
def test_numbers_and_text_that_json_does_not_have_are_refused(api: ApiName, value: bytes) -> None:
    body = json.dumps(BASES[api]).encode()
    with pytest.raises(RequestError):
        APIS[api].read_request(body[:-1] + b',"temperature":%b}' % value)


@pytest.mark.parametrize("api", API_NAMES)
@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"null", b"{}", b'"x"', b"\xef\xbb\xbf{}"])
def test_a_body_that_is_no_request_is_refused(api: ApiName, body: bytes) -> None:
    with pytest.raises(RequestError):
        APIS[api].read_request(body)


@pytest.mark.parametrize("api", API_NAMES)
@pytest.mark.parametrize("deep", [DEEP, DEEP_OBJECTS])
@pytest.mark.parametrize("field", ["messages", "input", "prompt", "tools", "metadata", "unknown"])
def test_deep_nesting_is_refused_or_handed_on_whole(api: ApiName, deep: bytes, field: str) -> None:
    base = json.dumps({name: value for name, value in BASES[api].items() if name != field}).encode()
    try_request_bytes = base[:-1] + b',"%b":%b}' % (field.encode(), deep)
    try:
        request = APIS[api].read_request(try_request_bytes)
    except RequestError:
        return
    try:
        assert deep in APIS[api].write_request(request, accepting()).body
    except RequestError:
        pass


def test_ten_thousand_tools_are_no_trouble() -> None:
    tools = [
        {"type": "function", "function": {"name": f"f{at}", "parameters": {"type": "object"}}} for at in range(10_000)
    ]
    request = APIS["chat"].read_request(json.dumps(BASES["chat"] | {"tools": tools}).encode())
    for api in CHATTY:
        assert APIS[api].write_request(request, accepting()).body.count(b'"name"') == 10_000


@pytest.mark.parametrize("api", API_NAMES)
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 100), places, junk)
def test_a_stream_with_something_wrong_inside_fails_as_an_event(
    api: ApiName, at: int, way: list[int], put: Any
) -> None:
    kind = "text" if api == "completions" else "tools"
    events = recorded(f"{api}.{kind}.sse").decode().split("\n\n")[:-1]
    at %= len(events)
    head, _, data = events[at].rpartition("data: ")
    if data.startswith("{"):
        data = json.dumps(mutated(json.loads(data), way, put))
    events[at] = f"{head}data: {data}"
    read = read_stream(api, "".join(event + "\n\n" for event in events).encode())
    assert sum(isinstance(event, Failed) for event in read[:-1]) == 0
    for client in API_NAMES:
        request = APIS[client].read_request(recorded(f"{client}.request.json"))
        APIS[client].stream_writer(request, ANSWER_ID, 0).write_all(read)


@pytest.mark.parametrize("api", API_NAMES)
@settings(max_examples=150, deadline=None)
@given(places, junk)
def test_a_whole_answer_with_something_wrong_inside_is_read_or_a_backend_error(
    api: ApiName, way: list[int], put: Any
) -> None:
    kind = "text" if api == "completions" else "tools"
    answer = fold(read_stream(api, recorded(f"{api}.{kind}.sse")))
    request = APIS[api].read_request(recorded(f"{api}.request.json"))
    body = APIS[api].write_answer(answer, request, ANSWER_ID)
    with suppress(BackendError):
        read = APIS[api].read_answer(json.dumps(mutated(json.loads(body), way, put)).encode(), PLAIN)
        for client in API_NAMES:
            json.loads(APIS[client].write_answer(read, request, ANSWER_ID))


@settings(max_examples=200, deadline=None)
@given(places, junk)
def test_embeddings_with_something_wrong_inside_are_read_or_refused(way: list[int], put: Any) -> None:
    good_request = {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3}
    good_answer = {"data": [{"index": 0, "embedding": [0.5, 1.0]}], "model": "m", "usage": {"prompt_tokens": 3}}
    request = read_embedding(json.dumps(good_request).encode())
    with suppress(RequestError):
        read_embedding(json.dumps(mutated(good_request, way, put)).encode())
    with suppress(BackendError):
        write_vectors(read_vectors(json.dumps(mutated(good_answer, way, put)).encode()), request)


@settings(max_examples=200, deadline=None)
@given(st.integers(100, 599), st.binary(max_size=200) | junk.map(lambda value: json.dumps(value).encode()))
def test_an_error_of_any_shape_is_read(status: int, body: bytes) -> None:
    fault = read_error(status, {}, body, 0.0)
    assert fault.status == status
    assert fault.message
    failed = said_failure(body)
    assert failed.message
    for api in API_NAMES:
        json.loads(client_error(fault, api)[1])
        json.loads(error_body(failed, api))
