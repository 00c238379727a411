"""Two backends of one scripted model, of which the first to be asked breaks off; and strict readers of streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from gateway_rig import SSE_HEAD, chunk

from headrace import rng
from headrace.fleet import Fleet, Limits
from headrace.policy import PolicyEngine
from headrace.wire import ApiName
from headrace.wire.apis import APIS
from headrace.wire.canonical import Ended, Event, Finished, Request, Started, Text, TextDelta, Turn, Usage

INPUT_TOKENS = 12
PIECES = ["The ", "first ", "of ", '"many" ', "rivers,\n\n", "die Flüsse, ", "川 ", "\\ and ", "so ", "on", "."]
TEXT = "".join(PIECES)
PATIENT = Limits(breaker_failures=10**6, retry_budget=1.0, retry_burst=10**6)
Step = Callable[[ApiName, dict[str, Any], asyncio.StreamWriter], Any]


def real_engine(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(0, "policy"))


def question(api: ApiName, **fields: Any) -> bytes:
    """A streamed request, as it goes over the wire."""
    text = "Name them."
    said: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
    if api == "completions":
        said = {"prompt": text, "max_tokens": 100}
    elif api == "responses":
        said = {"input": text, "max_output_tokens": 100}
    if api in ("chat", "completions"):
        said["stream_options"] = {"include_usage": True}
    body = json.dumps({"model": "m", "stream": True, **said, **fields}).encode()
    return b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (APIS[api].path.encode(), len(body)) + body


def given(api: ApiName, body: dict[str, Any]) -> str:
    """What the model is to go on with."""
    if api == "completions":
        return str(body["prompt"]).removeprefix("Name them.")
    last = body["messages"][-1] if "messages" in body else {}
    return last["content"] if last.get("role") == "assistant" else ""


def stream_of(api: ApiName, before: str = "", name: str = "a", events: list[Event] | None = None) -> bytes:
    """What the model says after `before`, streamed."""
    turns = (Turn("user", (Text("hi"),)),)
    request = Request(api=api, model="m", turns=turns, stream=True, include_usage=True)
    pieces = pieces_after(before)
    said: list[Event] = [TextDelta(piece) for piece in pieces] if events is None else events
    used = Usage(INPUT_TOKENS + len(PIECES) - len(pieces), len(pieces))
    writer = APIS[api].stream_writer(request, name, 1)
    return writer.write_all([Started(name, f"m-{name}", 1), *said, Finished("stop"), used, Ended()])


def pieces_after(before: str) -> list[str]:
    """The rest of the text: the first piece may be the rest of one."""
    rest, said = [], 0
    for piece in PIECES:
        said += len(piece)
        if said > len(before):
            rest.append(piece[-(said - len(before)) :])
    assert before + "".join(rest) == TEXT, (before, rest)
    return rest


class Broken(NamedTuple):
    """How the first backend's stream breaks.

    Attributes:
        at: bytes of it that come; `sizes`: of the chunks that they come in; `ends`: with a reset, or politely.
    """

    at: int
    sizes: list[int]
    ends: str = "reset"

    def payload(self, stream: bytes) -> list[bytes]:
        """The chunks that come."""
        rest, chunks = stream[: self.at % (len(stream) + 1)], []
        sizes = list(self.sizes)
        while rest:
            size = sizes.pop(0) if sizes else len(rest)
            chunks.append(rest[:size])
            rest = rest[size:]
        return chunks


class ScriptedModel:
    """The model behind all backends: the first request of each answer breaks, and whoever is asked then goes on.

    Attributes:
        broken: how the next answer breaks. `asked`: the bodies of the requests, with their API, since then.
        raw: the first stream, where it is another than the model's.
        refuses: a request that goes on with a text gets a 400. `repeats`: it gets the text again.
    """

    def __init__(self, events: list[Event] | None = None) -> None:
        self.broken = Broken(0, [])
        self.asked: list[tuple[ApiName, dict[str, Any]]] = []
        self.events = events
        self.raw = b""
        self.refuses = self.repeats = False

    def breaks(self, broken: Broken) -> None:
        self.broken, self.asked = broken, []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].removeprefix(b"/base").decode()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                api = next(api for api, found in APIS.items() if found.path == path)
                self.asked.append((api, body))
                if not await self._answer(api, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _answer(self, api: ApiName, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if len(self.asked) == 1:
            writer.write(SSE_HEAD)
            for piece in self.broken.payload(self.raw or stream_of(api, events=self.events)):
                writer.write(chunk(piece))
                await asyncio.sleep(0)
            if self.broken.ends == "polite":
                writer.write(b"0\r\n\r\n")
            return self.broken.ends == "polite"
        before = given(api, body)
        if self.refuses:
            writer.write(b"HTTP/1.1 400 X\r\ncontent-length: 2\r\n\r\n{}")
            return True
        stream = stream_of(api, before, "b", self.events if not before else None)
        if self.repeats and before:
            stream = stream_of(api, "", "b", [TextDelta(before), *map(TextDelta, pieces_after(before))])
        writer.write(SSE_HEAD + chunk(stream) + b"0\r\n\r\n")
        return True


class Told(NamedTuple):
    """What a client reads of a stream that it takes as whole."""

    text: str
    usage: tuple[int, int] | None


def events_of(stream: bytes) -> list[tuple[str, Any]]:
    """Name and data of each event; raises where a client might."""
    found = []
    *events, rest = stream.decode().split("\n\n")
    assert rest == "", f"an event is cut off: {rest!r}"
    for event in events:
        lines = [line for line in event.split("\n") if line and not line.startswith(":")]
        if lines:
            names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
            datas = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            assert (len(datas), len(names)) == (1, len(lines) - 1), event
            data = datas[0] if datas[0] == "[DONE]" else msgspec.json.decode(datas[0])
            found.append((names[0] if names else "", data))
    return found


def read_chunks(stream: bytes, of: Callable[[dict[str, Any]], str | None]) -> Told:
    events = [data for _, data in events_of(stream)]
    assert events.count("[DONE]") == 1
    assert events.pop() == "[DONE]"
    for name in ("id", "object", "created", "model"):
        assert len({event[name] for event in events}) == 1, f"one {name}"
    usages = [event["usage"] for event in events if event.get("usage")]
    choices = [event["choices"][0] for event in events if event["choices"]]
    roles = [at for at, choice in enumerate(choices) if "role" in choice.get("delta", {})]
    assert roles in ([0], [])
    assert all("delta" not in choice or roles for choice in choices)
    finishes = [at for at, choice in enumerate(choices) if choice["finish_reason"]]
    assert finishes == [len(choices) - 1]
    assert choices[-1]["finish_reason"] == "stop"
    assert len(usages) <= 1
    used = (usages[0]["prompt_tokens"], usages[0]["completion_tokens"]) if usages else None
    return Told("".join(of(choice) or "" for choice in choices), used)


def read_messages(stream: bytes) -> Told:
    events = events_of(stream)
    assert all(name == data["type"] for name, data in events)
    datas = [data for _, data in events]
    kinds = [data["type"] for data in datas]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    opened, text = None, ""
    blocks = 0
    for data in datas[1:-2]:
        assert data["index"] == (blocks if data["type"] == "content_block_start" else opened)
        if data["type"] == "content_block_start":
            assert opened is None
            opened, blocks = data["index"], blocks + 1
        elif data["type"] == "content_block_stop":
            opened = None
        else:
            text += data["delta"]["text"]
    assert opened is None
    assert datas[-2]["delta"]["stop_reason"] == "end_turn"
    return Told(text, (datas[-2]["usage"]["input_tokens"], datas[-2]["usage"]["output_tokens"]))


def read_responses(stream: bytes) -> Told:
    events = events_of(stream)
    assert all(name == data["type"] for name, data in events)
    datas = [data for _, data in events]
    assert [data["sequence_number"] for data in datas] == list(range(len(datas)))
    last = datas[-1]["response"]
    assert (datas[0]["type"], datas[-1]["type"]) == ("response.created", "response.completed")
    assert last["status"] == "completed"
    for name in ("id", "created_at", "model"):
        assert datas[0]["response"][name] == last[name]
    done = [data["item"] for data in datas if data["type"] == "response.output_item.done"]
    added = [data["item"]["id"] for data in datas if data["type"] == "response.output_item.added"]
    assert done == last["output"]
    assert added == [item["id"] for item in done]
    deltas = "".join(data["delta"] for data in datas if data["type"] == "response.output_text.delta")
    texts = "".join(data["text"] for data in datas if data["type"] == "response.output_text.done")
    whole = "".join(part["text"] for item in done for part in item["content"])
    assert deltas == texts == whole
    return Told(whole, (last["usage"]["input_tokens"], last["usage"]["output_tokens"]))


READERS: dict[ApiName, Callable[[bytes], Told]] = {
    "chat": lambda stream: read_chunks(stream, lambda choice: choice["delta"].get("content")),
    "completions": lambda stream: read_chunks(stream, lambda choice: choice["text"]),
    "messages": read_messages,
    "responses": read_responses,
}
