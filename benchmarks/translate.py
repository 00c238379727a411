"""What translating a stream costs: CPU per token, from a chat backend's chunks to the events of a client's API.

    python benchmarks/translate.py [--tokens 4000] [--repeats 7]

One chunk a token, as fast silicon sends them, in blocks of one event (a quiet stream) and of 16 (a busy one). A figure
is the least over the repeats of the process's CPU time, with the garbage collector running as it does live. "splice" is
what handing the same blocks on unread would call for, in this loop: what translation pays comes on top of it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import time
from collections.abc import Callable

from headrace.wire import DONE, chat_chunk, chat_usage_chunk
from headrace.wire.apis import APIS, PLAIN, ApiName, StreamWriter
from headrace.wire.canonical import Request, Text, Turn

WORDS = (" the", " headrace", " leads", " a", " share", ' "of"', " the river", "\n", " é", " onto the wheel")


def chat_stream(tokens: int) -> list[bytes]:
    """The events of a chat backend's stream."""
    words = itertools.islice(itertools.cycle(WORDS), tokens)
    events = [chat_chunk("chatcmpl-8f3a", "gpt-oss-120b", 1_764_000_000, "", role=True)]
    events += [chat_chunk("chatcmpl-8f3a", "gpt-oss-120b", 1_764_000_000, word) for word in words]
    events.append(chat_chunk("chatcmpl-8f3a", "gpt-oss-120b", 1_764_000_000, None, finish_reason="stop"))
    events.append(chat_usage_chunk("chatcmpl-8f3a", "gpt-oss-120b", 1_764_000_000, 100, tokens))
    return [*events, DONE]


def stream_of(api: ApiName, tokens: int) -> list[bytes]:
    """The same stream as a backend of `api` would send it."""
    reader, writer = APIS["chat"].stream_reader(PLAIN), writer_of(api)
    written = [writer.write_all(reader.feed(block)) for block in chat_stream(tokens)]
    return [block for block in written if block]


def writer_of(api: ApiName) -> StreamWriter:
    request = Request(api=api, model="gpt-oss-120b", turns=(Turn("user", (Text("hi"),)),), stream=True)
    return APIS[api].stream_writer(request, "8f3a", 1_764_000_000)


def translate(blocks: list[bytes], backend: ApiName, client: ApiName) -> int:
    reader, writer = APIS[backend].stream_reader(PLAIN), writer_of(client)
    feed, write_all = reader.feed, writer.write_all
    return sum(len(write_all(feed(block))) for block in blocks)


def splice(blocks: list[bytes]) -> int:
    kept: list[bytes] = []
    return sum(len(block) for block in blocks if kept.append(block) is None)


def microseconds(work: Callable[[], int], tokens: int, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        assert work() > 0
        best = min(best, time.process_time() - start)
    return best / tokens * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rows = {}
    for backend, client in [*((("chat", api)) for api in APIS), ("responses", "chat"), ("messages", "chat")]:
        events = chat_stream(options.tokens) if backend == "chat" else stream_of(backend, options.tokens)
        for size in (1, 16):
            blocks = [b"".join(events[at : at + size]) for at in range(0, len(events), size)]
            work = functools.partial(translate, blocks, backend, client)
            cost = microseconds(work, options.tokens, options.repeats)
            rows.setdefault(f"{backend} -> {client}", {})[f"us_per_token_{size}_a_block"] = round(cost, 2)
    events = chat_stream(options.tokens)
    rows["splice"] = {
        "us_per_token_1_a_block": round(
            microseconds(functools.partial(splice, events), options.tokens, options.repeats), 2
        )
    }
    print(json.dumps({"tokens": options.tokens, "repeats": options.repeats, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
