"""Law 3: an attempt is in the ledger from dispatch to end, and `kill -9` of the gateway loses none and doubles none.

One story, told once and looked at by every test: `headrace serve` runs in a process of its own before two backends that
remember what they were asked and what they produced. It is killed twice under load, each time by a backend in the
middle of a burst, while other streams are open; the third run takes requests and ends in peace. Every request has a
token ceiling of its own, which the ledger keeps as `reserved`: by it and the backend, an attempt is recognised.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gateway_rig import post

from headrace.http import Exchange, HttpLimits, header_lines, serve
from headrace.ledger import AttemptStatus, ledger_totals, read_ledger, recover
from headrace.ledger.reader import Entry
from headrace.wire import DONE, chat_chunk, chat_completion, chat_usage_chunk

MODEL = "gpt-oss-120b"
JSON = header_lines((b"content-type", b"application/json"))
SSE = header_lines((b"content-type", b"text/event-stream"))
TOKEN = chat_chunk("c", MODEL, 1, "t")
STOP = chat_chunk("c", MODEL, 1, None, finish_reason="stop")
CACHED_TOKENS = 3
STORY_TIMEOUT_S = 60.0
FLEET = """
schema = 1
default_class = "chat"
[models.gpt-oss-120b]
[classes.chat]
value_of_time_usd_per_s = 0.0003
[[routes]]
pools = ["one", "two"]
"""
POOL = """
[deployments.{name}]
model = "gpt-oss-120b"
[deployments.{name}.observed]
ttft_s = 0.1
input_tokens_per_s = 10000.0
tpot_s = 0.01
[pools.{name}]
deployment = "{name}"
[pools.{name}.price]
type = "per_token"
input_usd_per_mtok = 0.1
output_usd_per_mtok = 0.4
[[pools.{name}.backends]]
name = "{name}-1"
url = "http://127.0.0.1:{port}"
max_in_flight = 64
"""

Key = tuple[str, int]  # (backend, the request's token ceiling): one attempt


@dataclass
class Made:
    """What a backend did in one attempt: tokens it produced, and the (input, output) tokens that it said it used."""

    tokens: int = 0
    said: tuple[int, int] | None = None


class Backends:
    """Two backends with one memory. A request's content says what to do: `finish`, `hang` or `refuse`, and how many."""

    def __init__(self) -> None:
        self.made: dict[Key, Made] = {}
        self.on_request: Callable[[], None] = lambda: None
        self._refused: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def handler(self, name: str) -> Callable[[Exchange], None]:
        def handle(exchange: Exchange) -> None:
            task = asyncio.ensure_future(self._answer(name, exchange))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return handle

    async def _answer(self, name: str, exchange: Exchange) -> None:
        body = json.loads(exchange.body)
        task, _, tokens = body["messages"][0]["content"].partition(" ")
        ceiling = body["max_tokens"]
        assert (name, ceiling) not in self.made, "an attempt was sent twice"
        made = self.made[name, ceiling] = Made()
        self.on_request()
        if task == "refuse" and ceiling not in self._refused:
            self._refused.add(ceiling)
            exchange.respond(500, JSON, b'{"error":{"message":"not now"}}')
        elif body.get("stream"):
            await self._stream(exchange, made, int(tokens), ends=task != "hang")
        else:
            made.tokens = int(tokens)
            made.said = (ceiling + 1, made.tokens)
            usage = {"input_tokens": ceiling + 1, "output_tokens": made.tokens, "cached_input_tokens": CACHED_TOKENS}
            exchange.respond(200, JSON, chat_completion("c", MODEL, 1, "t", finish_reason="stop", **usage))

    async def _stream(self, exchange: Exchange, made: Made, tokens: int, ends: bool) -> None:
        exchange.start(200, SSE)
        ceiling = json.loads(exchange.body)["max_tokens"]
        for _ in range(tokens):
            made.tokens += 1
            exchange.write(TOKEN)
            await asyncio.sleep(0)
        if ends:
            made.said = (ceiling + 1, tokens)
            exchange.write(STOP + chat_usage_chunk("c", MODEL, 1, ceiling + 1, tokens, CACHED_TOKENS) + DONE)
            exchange.finish()


@dataclass
class Client:
    """One request and what its client got."""

    tokens: int = 0
    complete: bool = False
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, port: int, content: str, ceiling: int, *, stream: bool = True, leave_after: int = 0) -> None:
        messages = [{"role": "user", "content": content}]
        request = post(model=MODEL, max_tokens=ceiling, messages=messages, stream=stream)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await self._read(reader, leave_after)
            writer.transport.abort()
        except ConnectionError:
            pass  # the gateway was killed

    async def _read(self, reader: asyncio.StreamReader, leave_after: int) -> None:
        answer = b""
        while data := await reader.read(1 << 16):
            answer += data
            self.tokens = answer.count(b'"content":"t"')
            self.complete = DONE in answer or (b'"chat.completion"' in answer and answer.endswith(b"}"))
            if self.tokens:
                self.began.set()
            if self.complete or (leave_after and self.tokens >= leave_after):
                return


@dataclass
class Story:
    """The ledger at each turn of the story, what the backends made, and what each client got, by its ceiling."""

    path: Path
    killed: list[list[Entry]] = field(default_factory=list)
    restarted: list[list[Entry]] = field(default_factory=list)
    final: list[Entry] = field(default_factory=list)
    seen_when_killed: list[set[Key]] = field(default_factory=list)
    made: dict[Key, Made] = field(default_factory=dict)
    clients: dict[int, Client] = field(default_factory=dict)


@dataclass
class Gateway:
    """A running `headrace serve`."""

    process: asyncio.subprocess.Process
    port: int


@asynccontextmanager
async def served(fleet: Path, ledger: Path) -> AsyncIterator[Gateway]:
    command = [sys.executable, "-m", "headrace.cli", "serve", str(fleet), "--port", "0", "--admin-port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--ledger", str(ledger), stderr=asyncio.subprocess.PIPE, cwd=fleet.parent
    )
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        assert "127.0.0.1:" in line, line
        yield Gateway(process, int(line.split("127.0.0.1:")[1].split("/")[0]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Teller:
    """Makes the story happen."""

    def __init__(self, story: Story, backends: Backends, fleet: Path) -> None:
        self.story = story
        self.backends = backends
        self.fleet = fleet
        self._ceilings = iter(range(1000, 9000))

    def send(self, gateway: Gateway, content: str, **more: object) -> tuple[Client, asyncio.Future[None]]:
        ceiling = next(self._ceilings)
        client = self.story.clients[ceiling] = Client()
        return client, asyncio.ensure_future(client.ask(gateway.port, content, ceiling, **more))  # type: ignore[arg-type]

    async def finished(self, gateway: Gateway, count: int) -> None:
        """Requests that are answered, streams and others, some by the second backend that is asked."""
        contents = ["refuse 4", *(f"finish {1 + i}" for i in range(count))]
        sent = [self.send(gateway, content, stream=i % 3 > 0) for i, content in enumerate(contents)]
        await asyncio.gather(*(task for _, task in sent))
        assert all(client.complete for client, _ in sent)

    async def gone(self, gateway: Gateway, count: int) -> None:
        """Clients that leave in the middle of a stream."""
        before = self._count(AttemptStatus.CANCELLED)
        await asyncio.gather(*(self.send(gateway, "hang 9", leave_after=2 + i)[1] for i in range(count)))
        while self._count(AttemptStatus.CANCELLED) < before + count:
            await asyncio.sleep(0.005)

    async def killed(self, gateway: Gateway, hanging: int, burst: int) -> None:
        """`kill -9` at a backend's sight of half a burst, with streams open in their middle and others in any state."""
        open_streams = [self.send(gateway, f"hang {5 + i}") for i in range(hanging)]
        await asyncio.gather(*(client.began.wait() for client, _ in open_streams))
        seen = len(self.backends.made)

        def kill_in_the_middle() -> None:
            if len(self.backends.made) == seen + burst // 2:
                os.kill(gateway.process.pid, signal.SIGKILL)

        self.backends.on_request = kill_in_the_middle
        tasks = [task for _, task in open_streams]
        tasks += [self.send(gateway, f"finish {30 + i}", stream=i % 4 > 0)[1] for i in range(burst)]
        assert await gateway.process.wait() == -signal.SIGKILL
        self.backends.on_request = lambda: None
        await asyncio.gather(*tasks)
        self.story.seen_when_killed.append(set(self.backends.made))
        self.story.killed.append(list(read_ledger(self.story.path)))

    def _count(self, status: AttemptStatus) -> int:
        return sum(entry.status is status for entry in read_ledger(self.story.path))

    async def tell(self) -> None:
        for hanging, burst in ((6, 24), (3, 10)):
            async with served(self.fleet, self.story.path) as gateway:
                self.story.restarted.append(list(read_ledger(self.story.path)))
                await self.finished(gateway, 16)
                await self.gone(gateway, 4)
                await self.killed(gateway, hanging, burst)
        async with served(self.fleet, self.story.path) as gateway:
            self.story.restarted.append(list(read_ledger(self.story.path)))
            await self.finished(gateway, 6)
            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.process.wait() == 0
        self.story.final = list(read_ledger(self.story.path))
        self.story.made = dict(self.backends.made)


async def told(folder: Path) -> Story:
    backends = Backends()
    servers = {
        name: await serve(backends.handler(f"{name}-1"), "127.0.0.1", 0, HttpLimits()) for name in ("one", "two")
    }
    fleet = folder / "fleet.toml"
    fleet.write_text(FLEET + "".join(POOL.format(name=name, port=server.port) for name, server in servers.items()))
    story = Story(folder / "usage.jsonl")
    try:
        await asyncio.wait_for(Teller(story, backends, fleet).tell(), STORY_TIMEOUT_S)
    finally:
        for server in servers.values():
            await server.close()
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(told(tmp_path_factory.mktemp("crash")))


def keyed(story: Story, entries: list[Entry]) -> list[tuple[Key, Entry]]:
    """Each entry with its (backend, ceiling), which the opening lines say."""
    lines = [json.loads(line) for line in story.path.read_bytes().splitlines()]
    opened = [line for line in lines if line["kind"] == "opened"]
    keys = {(line["run"], line["attempt_id"]): (line["backend"], line["reserved_output_tokens"]) for line in opened}
    return [(keys[entry.run, entry.attempt_id], entry) for entry in entries]


def of(story: Story, status: AttemptStatus) -> list[tuple[Key, Entry]]:
    return [(key, entry) for key, entry in keyed(story, story.final) if entry.status is status]


def test_a_killed_gateway_left_every_attempt_that_a_backend_had_seen(story: Story) -> None:
    for seen, entries in zip(story.seen_when_killed, story.killed, strict=True):
        assert seen <= {key for key, _ in keyed(story, entries)}
        statuses = Counter(entry.status for entry in entries)
        assert statuses[AttemptStatus.OPEN] >= 3, "it was killed with streams open"
        assert set(AttemptStatus) - set(statuses) <= {AttemptStatus.INTERRUPTED}, "and every other end is there too"


def test_a_restart_interrupts_what_was_open_and_nothing_else(story: Story) -> None:
    assert story.restarted[0] == []
    for killed, restarted in zip(story.killed, story.restarted[1:], strict=True):
        left_open = {(e.run, e.attempt_id) for e in killed if e.status is AttemptStatus.OPEN}
        ended = [entry for entry in killed if entry.status is not AttemptStatus.OPEN]
        assert restarted[: len(ended)] == ended
        assert {(e.run, e.attempt_id) for e in restarted[len(ended) :]} == left_open
        assert {entry.status for entry in restarted[len(ended) :]} == {AttemptStatus.INTERRUPTED}


def test_an_interrupted_attempt_carries_delivered_to_reserved_and_the_true_count_lies_between(story: Story) -> None:
    interrupted = of(story, AttemptStatus.INTERRUPTED)
    for key, entry in interrupted:
        assert not entry.usage
        assert entry.output_high == key[1]
        assert entry.output_low <= story.made.get(key, Made()).tokens <= key[1]
    assert sum(story.made.get(key, Made()).tokens > 0 for key, _ in interrupted) >= 9, "the open streams at least"


def test_no_attempt_is_counted_twice(story: Story) -> None:
    keys = [key for key, _ in keyed(story, story.final)]
    assert max(Counter(keys).values()) == 1
    assert set(story.made) <= set(keys)
    assert all(entry.status is not AttemptStatus.OPEN for entry in story.final)
    totals = ledger_totals(story.path)
    assert sum(total.attempts for total in totals.values()) == len(keys)
    said = [entry.output_low for entry in story.final if entry.usage]
    assert sum(total.output_tokens for total in totals.values()) == sum(said)


def test_starting_again_changes_nothing_more(story: Story) -> None:
    before = story.path.read_bytes()
    assert recover(story.path).interrupted == ()
    assert story.path.read_bytes() == before


def test_requests_after_a_restart_are_booked(story: Story) -> None:
    completed = Counter(entry.run for _, entry in of(story, AttemptStatus.COMPLETED))
    assert sorted(completed) == [1, 2, 3]
    assert completed[3] == 7
    for key, entry in of(story, AttemptStatus.COMPLETED):
        assert entry.run < 3 or story.clients[key[1]].complete


def test_a_completed_attempt_equals_what_its_backend_said_to_the_token(story: Story) -> None:
    for key, entry in of(story, AttemptStatus.COMPLETED):
        assert entry.usage
        assert (entry.input_tokens, entry.output_low) == story.made[key].said
        assert entry.output_high == entry.output_low == story.made[key].tokens
        assert entry.cached_input_tokens == CACHED_TOKENS


def test_who_got_a_whole_answer_has_a_completed_attempt_or_one_that_the_kill_caught_at_its_end(story: Story) -> None:
    ended = {
        key[1]: entry.status for key, entry in keyed(story, story.final) if entry.status is not AttemptStatus.FAILED
    }
    whole = [ceiling for ceiling, client in story.clients.items() if client.complete]
    assert len(whole) >= 41
    assert {ended[ceiling] for ceiling in whole} <= {AttemptStatus.COMPLETED, AttemptStatus.INTERRUPTED}


def test_a_client_that_went_away_leaves_an_interval_around_what_was_made(story: Story) -> None:
    cancelled = of(story, AttemptStatus.CANCELLED)
    assert len(cancelled) == 8
    for key, entry in cancelled:
        got = story.clients[key[1]].tokens
        assert 2 <= got <= entry.output_low <= story.made[key].tokens
        assert entry.output_high == key[1]
        assert not entry.usage


def test_a_failed_attempt_is_booked_beside_the_one_that_took_over(story: Story) -> None:
    failed = of(story, AttemptStatus.FAILED)
    assert len(failed) == 3
    completed = {key for key, _ in of(story, AttemptStatus.COMPLETED)}
    for (backend, ceiling), entry in failed:
        other = "two-1" if backend == "one-1" else "one-1"
        assert (other, ceiling) in completed
        assert (entry.output_low, entry.output_high) == (0, ceiling)
