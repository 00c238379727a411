"""W3C trace context: what is a parent, who decides, and what goes on to backends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.telemetry.trace_context import Sampler, TraceContext, parsed, passed_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # the example of the recommendation, section 3.2.3
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
UNSAMPLED = f"00-{TRACE}-{SPAN}-00".encode()
NEVER, ALWAYS = Sampler(0.0, Random(1)), Sampler(1.0, Random(1))


def test_the_parent_decides() -> None:
    for sampler in (NEVER, ALWAYS):
        context = sampler.context({b"traceparent": SAMPLED, b"tracestate": b"v=1"})
        assert context is not None
        assert (context.trace_id, context.parent_id, context.state) == (int(TRACE, 16), int(SPAN, 16), b"v=1")
        assert context.span_id != context.parent_id
        assert sampler.context({b"traceparent": UNSAMPLED}) is None


def test_without_a_parent_the_ratio_decides() -> None:
    assert NEVER.context({}) is None
    sampler = Sampler(0.25, Random(7))
    found = [sampler.context({}) for _ in range(4000)]
    recorded = [each for each in found if each is not None]
    assert 900 < len(recorded) < 1100
    assert len({each.trace_id for each in recorded}) == len(recorded)
    assert all(each.parent_id is None and each.state == b"" for each in recorded)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"garbage",
        SAMPLED.upper(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        SAMPLED + b"-more",
        SAMPLED + b"x",
        SAMPLED[:-1],
    ],
)
def test_what_is_no_parent_is_ignored_and_its_state_with_it(header: bytes) -> None:
    assert parsed(header) is None
    assert NEVER.context({b"traceparent": header, b"tracestate": b"v=1"}) is None
    context = ALWAYS.context({b"traceparent": header, b"tracestate": b"v=1"})
    assert context is not None
    assert (context.parent_id, context.state) == (None, b"")
    assert b"tracestate" not in passed_on({b"traceparent": header, b"tracestate": b"v=1"}, context, 5)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parsed(f"01-{TRACE}-{SPAN}-01-more".encode()) == (int(TRACE, 16), int(SPAN, 16), 1)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_what_goes_on_names_the_attempt(trace_id: int, span_id: int) -> None:
    headers = {b"traceparent": SAMPLED, b"tracestate": b"v=1", b"x": b"y"}
    sent = passed_on(headers, TraceContext(trace_id, 3, 4, b"v=1"), span_id)
    assert parsed(sent[b"traceparent"]) == (trace_id, span_id, 1)
    assert (sent[b"tracestate"], sent[b"x"], headers[b"traceparent"]) == (b"v=1", b"y", SAMPLED)
