"""However the bytes of a stream were split and its lines ended, the same events come out, and the same bytes go on."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_rig import API_NAMES, CHATTY, read_stream, recorded, write_stream

from headrace.wire.apis import APIS, PLAIN, ApiName
from headrace.wire.apis.freeform import Unwrapper, unwrapped
from headrace.wire.apis.tool_names import wrapped_arguments
from headrace.wire.canonical import Event
from headrace.wire.sse import EventReader

cuts = st.lists(st.integers(0, 1_000_000), max_size=40)
STREAMS = [(api, f"{api}.text.sse") for api in API_NAMES] + [(api, f"{api}.tools.sse") for api in CHATTY]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


def read_cut(api: ApiName, blocks: list[bytes]) -> list[Event]:
    reader = APIS[api].stream_reader(PLAIN)
    read = [event for block in blocks for event in reader.feed(block)]
    return read + reader.close(True)


def disguised(stream: bytes, line_end: bytes, comments: bool, lines: bool) -> bytes:
    """The same stream as another server might send it."""
    out = []
    for event in stream.decode().split("\n\n"):
        for line in event.split("\n"):
            field, _, value = line.partition(": ")
            if lines and field == "data" and value.startswith("{"):
                pretty = json.dumps(json.loads(value), indent=1, ensure_ascii=False)
                out += [f"data: {piece}" for piece in pretty.split("\n")]
            else:
                out.append(line)
        if comments:
            out += ["", ": keep-alive", "id: 7", "retry: 1000"]
        out.append("")
    return "\n".join(out).encode().replace(b"\n", line_end)


@pytest.mark.parametrize(("api", "name"), STREAMS)
@settings(max_examples=25, deadline=None)
@given(cuts, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans(), st.booleans())
def test_events_do_not_depend_on_how_bytes_were_split(
    api: ApiName, name: str, places: list[int], line_end: bytes, comments: bool, lines: bool
) -> None:
    stream = recorded(name)
    sent = disguised(stream, line_end, comments, lines)
    assert read_cut(api, cut(sent, places)) == read_stream(api, stream)


@pytest.mark.parametrize(("api", "name"), STREAMS)
def test_bytes_one_by_one_read_the_same(api: ApiName, name: str) -> None:
    stream = recorded(name)
    for line_end in (b"\n", b"\r\n"):
        sent = stream.replace(b"\n", line_end)
        assert read_cut(api, [sent[at : at + 1] for at in range(len(sent))]) == read_stream(api, stream)


@pytest.mark.parametrize("client", API_NAMES)
@settings(max_examples=25, deadline=None)
@given(cuts)
def test_what_is_written_does_not_depend_on_how_bytes_were_split(client: ApiName, places: list[int]) -> None:
    request = APIS[client].read_request(recorded(f"{client}.request.json"))
    reader = APIS["chat"].stream_reader(PLAIN)
    writer = APIS[client].stream_writer(request, "8f3a", 1_764_000_000)
    stream = recorded("chat.tools.sse")
    written = b"".join(writer.write_all(reader.feed(block)) for block in cut(stream, places))
    assert written == write_stream(client, request, read_stream("chat", stream))


def squeezed(data: bytes) -> list[bytes]:
    """The lines without the space around them, which JSON does not know."""
    return [line.strip() for line in data.split(b"\n")]


events = st.lists(st.lists(st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), min_size=1), min_size=1))


@settings(max_examples=150, deadline=None)
@given(events, cuts, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_an_event_reader_gives_the_data_that_was_sent(
    sent: list[list[str]], places: list[int], line_end: bytes, marked: bool
) -> None:
    lines = [[b"data: x" + line.encode() for line in event] + [b"", b""] for event in sent]
    stream = line_end.join(line for event in lines for line in event[:-1]) + line_end
    reader = EventReader()
    found = [data for block in cut(b"\xef\xbb\xbf" * marked + stream, places) for data in reader.feed(block)]
    if line_end == b"\r":
        found += reader.feed(b"\n")
    assert [squeezed(data) for data in found] == [
        squeezed("\n".join("x" + line for line in event).encode()) for event in sent
    ]


@settings(max_examples=300, deadline=None)
@given(st.text(), cuts, st.booleans())
def test_free_text_comes_out_of_its_json_however_it_was_split(text: str, places: list[int], ascii_only: bool) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    try:
        arguments.encode()
    except UnicodeEncodeError:
        return
    marks = sorted({place % (len(arguments) + 1) for place in places} | {0, len(arguments)})
    unwrapper = Unwrapper()
    pieces = [unwrapper.feed(arguments[start:end]) for start, end in itertools.pairwise(marks)]
    assert "".join(pieces) + unwrapper.close() == text
    assert unwrapped(wrapped_arguments(text)) == text


@pytest.mark.parametrize("arguments", ["*** Begin Patch", '{"patch":"x"}', '"x"', "", '{"inpu', "[]"])
def test_arguments_that_are_not_wrapped_are_handed_on(arguments: str) -> None:
    assert unwrapped(arguments) == arguments
