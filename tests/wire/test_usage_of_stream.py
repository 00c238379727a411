"""What the end of a stream says."""

from __future__ import annotations

from headrace.wire.usage import is_error_event, stream_end


def test_an_error_object_inside_a_stream_is_a_failure() -> None:
    event = b'data: {"error":{"message":"overloaded","code":503}}\n\n'
    assert stream_end(event + b"data: [DONE]\n\n").failed
    assert is_error_event(event)


def test_a_null_error_is_none() -> None:
    event = b'data: {"error":null,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    assert not stream_end(event + b"data: [DONE]\n\n").failed
