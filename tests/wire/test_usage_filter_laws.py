"""Law 10: the bytes out are the bytes in minus exactly the usage event, for every way to cut the stream."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.wire import DONE, Usage, UsageFilter, chat_chunk, chat_usage_chunk, stream_end
from headrace.wire.splices import SPLICES

texts = st.lists(st.text(max_size=12) | st.sampled_from(['"finish_reason":"stop"', "\n\n", '"choices":[]']), max_size=6)
cuts = st.lists(st.integers(0, 10_000), max_size=12)
USAGE = chat_usage_chunk("c", "m", 1, 10, 20, 5)


def stream(pieces: list[str], spaced: bool, crlf: bool) -> tuple[bytes, bytes]:
    """A whole stream with a usage event, and the usage event as it stands in it."""
    events = [chat_chunk("c", "m", 1, "", role=True)]
    events += [chat_chunk("c", "m", 1, piece) for piece in pieces]
    events += [chat_chunk("c", "m", 1, None, finish_reason="stop"), USAGE, DONE]
    data, usage = b"".join(events), USAGE
    if spaced:
        data, usage = (part.replace(b'":', b'": ') for part in (data, usage))
    if crlf:
        data, usage = (part.replace(b"\n", b"\r\n") for part in (data, usage))
    return data, usage


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


@settings(max_examples=300, deadline=None)
@given(texts, cuts, st.booleans(), st.booleans())
def test_exactly_the_usage_event_is_withheld(pieces: list[str], places: list[int], spaced: bool, crlf: bool) -> None:
    data, usage = stream(pieces, spaced, crlf)
    usage_filter = UsageFilter()
    out = b"".join(usage_filter.feed(block) for block in cut(data, places)) + usage_filter.flush()
    assert out == data.replace(usage, b"")
    assert usage_filter.withheld == usage


def test_every_single_cut_and_every_byte_alone() -> None:
    data, usage = stream(["a", "b"], False, False)
    for place in range(len(data)):
        usage_filter = UsageFilter()
        out = usage_filter.feed(data[:place]) + usage_filter.feed(data[place:]) + usage_filter.flush()
        assert out == data.replace(usage, b"")
    usage_filter = UsageFilter()
    out = b"".join(usage_filter.feed(data[i : i + 1]) for i in range(len(data))) + usage_filter.flush()
    assert out == data.replace(usage, b"")


@settings(max_examples=100, deadline=None)
@given(texts, cuts)
def test_a_stream_without_a_usage_event_passes_whole(pieces: list[str], places: list[int]) -> None:
    data = stream(pieces, False, False)[0].replace(USAGE, b"")
    usage_filter = UsageFilter()
    assert b"".join(map(usage_filter.feed, cut(data, places))) + usage_filter.flush() == data


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_a_filter_may_start_in_the_middle_of_a_stream(place: int) -> None:
    data, usage = stream(["hello", "world"], False, False)
    finish = data.index(b'"finish_reason":"stop"')
    start = place % finish
    usage_filter = UsageFilter(data[:start])
    assert usage_filter.feed(data[start:]) + usage_filter.flush() == data[start:].replace(usage, b"")


def test_a_usage_event_that_the_stream_ends_without_a_blank_line_is_withheld_too() -> None:
    usage_filter = UsageFilter()
    finish = chat_chunk("c", "m", 1, None, finish_reason="stop")
    assert usage_filter.feed(finish + USAGE.rstrip()) + usage_filter.flush() == finish


def test_whole_events_are_handed_on_at_once() -> None:
    usage_filter = UsageFilter()
    finish = chat_chunk("c", "m", 1, None, finish_reason="stop")
    assert usage_filter.feed(finish) == finish
    assert usage_filter.feed(DONE) == DONE


@settings(max_examples=100, deadline=None)
@given(texts, cuts)
def test_the_count_of_content_events_is_a_lower_bound_of_pieces(pieces: list[str], places: list[int]) -> None:
    data, _ = stream(pieces, False, False)
    whole = SPLICES["chat"].count(data)
    assert whole == sum(1 for piece in pieces if piece)
    assert sum(map(SPLICES["chat"].count, cut(data, places))) <= whole


def test_the_end_of_a_stream_is_read_from_its_tail() -> None:
    data, _ = stream(["a"] * 50, True, True)
    end = stream_end(data[-1500:])
    assert (end.finished, end.done, end.failed) == (True, True, False)
    assert end.usage == Usage(10, 20, 5)
