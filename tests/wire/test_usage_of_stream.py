"""What the end of a stream says."""

from __future__ import annotations

import pytest

from headrace.wire.usage import stream_end


def test_an_error_object_inside_a_stream_is_a_failure() -> None:
    event = b'data: {"error":{"message":"overloaded","code":503}}\n\n'
    assert stream_end(event + b"data: [DONE]\n\n").failed


@pytest.mark.parametrize(("reason", "failed"), [("abort", True), ("error", True), ("stop", False), ("length", False)])
def test_an_answer_that_the_server_itself_broke_off_is_a_failure(reason: str, failed: bool) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"%b"}]}\n\n' % reason.encode()
    assert stream_end(event + b"data: [DONE]\n\n").failed is failed


def test_a_null_error_is_none() -> None:
    event = b'data: {"error":null,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    assert not stream_end(event + b"data: [DONE]\n\n").failed
