"""One emulated backend: the simulator's model server, in real time, behind the wire.

Tokens are due on an absolute timeline that the model server computes. At 2,000 tokens/s a gap is finer than an event
loop's timers, so a wake-up sends every token that is due by then, each as an event of its own: a stream may come in
small bunches, but it is never late by more than a wake-up, and never drifts. How late tokens were is exported.

The emulated tokenizer: 4 bytes of message content are one token, in and out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from math import ceil
from random import Random
from typing import Any

import msgspec

from headrace.errors import CapacityError, ModelRangeError, RequestError
from headrace.http import Exchange, header_lines
from headrace.metrics import QuantileSketch
from headrace.modelserver import BLOCK_TOKENS, Job, Milestone, ModelServer
from headrace.rng import stream
from headrace.wire import chat_chunk, chat_completion, chat_usage_chunk, encode_error, model_list

EMULATED = (b"x-headrace-emulated", b"1")
JSON = header_lines((b"content-type", b"application/json"), EMULATED)
SSE = header_lines((b"content-type", b"text/event-stream"), EMULATED)
TEXT = header_lines((b"content-type", b"text/plain; version=0.0.4"), EMULATED)
OUTPUT_TOKENS_HEADER = b"x-headrace-emulated-output-tokens"
TOKEN = "tok "  # four bytes: one token by the emulated tokenizer
BYTES_PER_TOKEN = 4
SHORTEST_WAIT_S = 0.001
LENGTH_MU, LENGTH_SIGMA = 4.955, 0.869  # log tokens; single-lognormal fit of the Azure 2023 conversation trace


class _Message(msgspec.Struct):
    content: Any = ""


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatBody(msgspec.Struct):
    """What the emulator reads of a request."""

    model: str
    messages: list[_Message]
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def ceiling(self) -> int | None:
        """The client's ceiling on output tokens."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    def input_tokens(self) -> int:
        """Tokens of all message content, by the emulated tokenizer; at least 1."""
        return max(1, -(-len(self.content()) // BYTES_PER_TOKEN))

    def content(self) -> bytes:
        """All message content, one after the other."""
        parts = (message.content for message in self.messages)
        return b"".join(part.encode() if isinstance(part, str) else msgspec.json.encode(part) for part in parts)


_decoder = msgspec.json.Decoder(ChatBody)


class _Answer:
    """One live answer."""

    __slots__ = ("body", "cached_tokens", "cut", "exchange", "input_tokens", "name", "output_tokens", "sent")

    def __init__(self, exchange: Exchange, body: ChatBody, name: str, output_tokens: int, cut: bool) -> None:
        self.exchange = exchange
        self.body = body
        self.name = name
        self.input_tokens = body.input_tokens()
        self.output_tokens = output_tokens
        self.cut = cut
        self.sent = 0
        self.cached_tokens = 0

    @property
    def finish_reason(self) -> str:
        return "length" if self.cut else "stop"


class EmulatedBackend:
    """Serves one model on one model server in real time.

    Attributes:
        lateness: seconds by which tokens were sent after they were due.
    """

    def __init__(
        self,
        name: str,
        model: str,
        server: ModelServer,
        seed: int,
        clock: Callable[[], float],
        shares_prefixes: bool = False,
        kv_room_tokens: int | None = None,
    ) -> None:
        """
        Args:
            kv_room_tokens: what its KV usage is a fraction of; None: nobody knows.
            shares_prefixes: the model server has a prefix cache, so it is told the hashes of the input's blocks.
        """
        self.name = name
        self.lateness = QuantileSketch()
        self._model = model
        self._server = server
        self._seed = seed
        self._clock = clock
        self._shares_prefixes = shares_prefixes
        self._kv_room_tokens = kv_room_tokens
        self._answers: dict[int, _Answer] = {}
        self._next_id = 1
        self._timer: asyncio.TimerHandle | None = None

    def handle(self, exchange: Exchange) -> None:
        """Answer one request: `http.server`'s handler."""
        route = (exchange.method, exchange.path)
        if route == (b"POST", b"/v1/chat/completions"):
            self._chat(exchange)
        elif route == (b"GET", b"/v1/models"):
            exchange.respond(200, JSON, model_list([self._model]))
        elif route == (b"GET", b"/health"):
            exchange.respond(200, JSON, b'{"status":"ok"}')
        elif route == (b"GET", b"/metrics"):
            exchange.respond(200, TEXT, self._metrics())
        else:
            exchange.respond(404, JSON, b'{"error":{"message":"no such endpoint","type":"not_found_error"}}')

    def close(self) -> None:
        """Wake up no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _chat(self, exchange: Exchange) -> None:
        try:
            body = _decoder.decode(exchange.body)
            if body.model != self._model:
                message = f'{{"error":{{"message":"this backend serves {self._model}","type":"not_found_error"}}}}'
                exchange.respond(404, JSON, message.encode())
                return
            self._submit(exchange, body)
        except (msgspec.DecodeError, ModelRangeError) as error:
            status, wire = encode_error(RequestError(f"{error}"))
            exchange.respond(status, JSON, wire)
        except CapacityError as error:
            status, wire = encode_error(error)
            exchange.respond(status, JSON + b"retry-after: %d\r\n" % max(1, ceil(error.retry_after_s)), wire)

    def _submit(self, exchange: Exchange, body: ChatBody) -> None:
        wanted = self._length(exchange, body)
        ceiling = body.ceiling
        output_tokens = wanted if ceiling is None else max(1, min(wanted, ceiling))
        job_id = self._next_id
        self._next_id += 1
        answer = _Answer(exchange, body, f"chatcmpl-{job_id}", output_tokens, output_tokens < wanted)
        now_s = self._clock()
        self._advance(now_s)
        prefix = prefix_hashes(body.content()) if self._shares_prefixes else ()
        self._server.submit(
            now_s, Job(job_id, answer.input_tokens, output_tokens, prefix, BLOCK_TOKENS if prefix else 0, ceiling)
        )
        self._answers[job_id] = answer
        exchange.on_gone = lambda: self._gone(job_id)
        self._wake_later(now_s)

    def _length(self, exchange: Exchange, body: ChatBody) -> int:
        """The header's length, or one drawn by the request itself: the same request gets the same answer."""
        header = dict(exchange.headers).get(OUTPUT_TOKENS_HEADER, b"")
        if header.isdigit():
            return max(1, int(header))
        draw: Random = stream(self._seed, f"emulate.{len(exchange.body)}.{body.input_tokens()}")
        return max(1, round(draw.lognormvariate(LENGTH_MU, LENGTH_SIGMA)))

    def _gone(self, job_id: int) -> None:
        if self._answers.pop(job_id, None) is not None:
            now_s = self._clock()
            self._advance(now_s)
            self._server.abort(now_s, job_id)
            self._wake_later(now_s)

    def _wake(self) -> None:
        self._timer = None
        now_s = self._clock()
        self._advance(now_s)
        self._wake_later(now_s)

    def _advance(self, now_s: float) -> None:
        """Move the model server to now and send all tokens that are due."""
        done = {r.job_id: r for r in self._server.advance(now_s) if r.milestone is Milestone.FINISHED}
        for job_id, answer in list(self._answers.items()):
            if job_id in done:
                answer.cached_tokens = done[job_id].cached_input_tokens
                self._send(answer, answer.output_tokens)
                del self._answers[job_id]
                self._finish(answer)
            else:
                due_s = self._server.token_due_s(job_id, answer.sent + 1)
                if due_s is not None and due_s <= now_s:
                    self.lateness.add(max(now_s - due_s, 1e-9))
                    self._send(answer, self._server.produced(now_s, job_id))

    def _send(self, answer: _Answer, tokens: int) -> None:
        if answer.body.stream and tokens > answer.sent:
            exchange, body = answer.exchange, answer.body
            first = b""
            if answer.sent == 0:
                exchange.start(200, SSE)
                first = chat_chunk(answer.name, body.model, 0, "", role=True)
            event = chat_chunk(answer.name, body.model, 0, TOKEN)
            exchange.write(first + event * (tokens - answer.sent))
        answer.sent = max(answer.sent, tokens)

    def _finish(self, answer: _Answer) -> None:
        exchange, body = answer.exchange, answer.body
        exchange.on_gone = None
        if not body.stream:
            whole = chat_completion(
                answer.name,
                body.model,
                0,
                TOKEN * answer.output_tokens,
                finish_reason=answer.finish_reason,
                input_tokens=answer.input_tokens,
                output_tokens=answer.output_tokens,
                cached_input_tokens=answer.cached_tokens,
            )
            exchange.respond(200, JSON, whole)
            return
        end = chat_chunk(answer.name, body.model, 0, None, finish_reason=answer.finish_reason)
        if body.stream_options is not None and body.stream_options.include_usage:
            end += chat_usage_chunk(
                answer.name, body.model, 0, answer.input_tokens, answer.output_tokens, answer.cached_tokens
            )
        exchange.write(end + b"data: [DONE]\n\n")
        exchange.finish()

    def _wake_later(self, now_s: float) -> None:
        """Set the one timer: the next change, or the next token of the stream that has one first."""
        times = [self._server.next_s()]
        times += [self._server.token_due_s(job, a.sent + 1) for job, a in self._answers.items() if a.body.stream]
        next_s = min((at_s for at_s in times if at_s is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_s is not None:
            wait_s = max(next_s - now_s, SHORTEST_WAIT_S if next_s > now_s else 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._wake)

    def _metrics(self) -> bytes:
        """Its load under the names that vLLM has for it, and how late tokens were."""
        late = self.lateness.quantile(0.99)
        label = f'{{model_name="{self._model}"}}'
        lines = [
            f"vllm:num_requests_running{label} {self._server.running}",
            f"vllm:num_requests_waiting{label} {self._server.waiting}",
        ]
        if self._kv_room_tokens:
            lines.append(f"vllm:kv_cache_usage_perc{label} {self._server.kv_tokens / self._kv_room_tokens}")
        if late is not None:
            lines.append(f'headrace_emulated_token_lateness_seconds{{quantile="0.99"}} {late}')
        lines.append(f"headrace_emulated_token_lateness_seconds_count {self.lateness.count}")
        return ("\n".join(lines) + "\n").encode()


def prefix_hashes(content: bytes) -> tuple[int, ...]:
    """One hash for each whole KV block of tokens; it depends on everything up to there."""
    size = BLOCK_TOKENS * BYTES_PER_TOKEN
    state, found = blake2b(digest_size=8), []
    for end in range(size, len(content) + 1, size):
        state.update(content[end - size : end])
        found.append(int.from_bytes(state.digest()))
    return tuple(found)
