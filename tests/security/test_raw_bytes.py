"""Any bytes into the server: no exception, no hang, and never two answers for one request."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from socket_talk import Served, served, statuses
from test_request_corpus import READ, REFUSED

from headrace.http import HttpLimits

CASES = int(os.environ.get("HEADRACE_FUZZ_CASES", "300"))
WHOLE = [*(request for _, request in REFUSED.values()), *(request for request, _, _ in READ.values())]
TOKENS = [
    *(
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"/",
        b"/a",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"host: h\r\n",
        b"\r\n",
        b"\n",
        b"\r",
    ),
    *(b"content-length: ", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"upgrade: websocket\r\n"),
    *(
        b"connection: upgrade\r\n",
        b"expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"3",
        b"abc",
        b":",
        b"\0",
    ),
]
_pieces = st.one_of(st.sampled_from(WHOLE), st.sampled_from(TOKENS), st.binary(max_size=20))
_cuts = st.lists(st.integers(0, 400), max_size=5)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Whole requests, parts of them and noise, with some bytes changed, in the pieces in which they are sent."""
    said = bytearray(b"".join(draw(st.lists(_pieces, min_size=1, max_size=12))))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4)):
        if at < len(said):
            said[at] = byte
    cuts = sorted({0, len(said), *(cut for cut in draw(_cuts) if cut < len(said))})
    return [bytes(said[start:end]) for start, end in pairwise(cuts)]


def final(answer: bytes) -> list[int]:
    """Statuses of answers that end something."""
    return [status for status in statuses(answer) if status >= 200]


def test_any_bytes_get_at_most_one_answer_for_each_request_and_one_refusal_at_the_end() -> None:
    async def scenario(rig: Served) -> None:
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=CASES,
            derandomize="HEADRACE_FUZZ_CASES" not in os.environ,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(conversations())
        def converse(pieces: list[bytes]) -> None:
            rig.requests.clear()
            said = asyncio.run_coroutine_threadsafe(rig.say(*pieces, leaves=True), loop)
            got = final(without_bodies_of_head(rig, said.result(20)))
            answered, refused = [each for each in got if each == 200], [each for each in got if each != 200]
            assert len(answered) <= len(rig.requests)
            assert len(refused) <= 1
            assert got == [*answered, *refused]
            assert rig.faults == []

        await loop.run_in_executor(None, converse)

    served(scenario, HttpLimits(max_body_bytes=5000, max_head_bytes=4000, max_header_lines=50), 300)


def without_bodies_of_head(rig: Served, answer: bytes) -> bytes:
    """An answer to HEAD names the length of a body that it does not have."""
    pieces = answer.split(b"HTTP/1.1 ")
    for at, exchange in enumerate(rig.requests, start=1):
        if exchange.method == b"HEAD" and at < len(pieces):
            pieces[at] = pieces[at].replace(b"content-length: 4\r\n", b"content-length: 0\r\n")
    return b"HTTP/1.1 ".join(pieces)
