"""One emulated backend: the simulator's model server, in real time, behind the wire.

Tokens are due on an absolute timeline that the model server computes. At 2,000 tokens/s a gap is finer than an event
loop's timers, so a wake-up sends every token that is due by then, each as an event of its own: a stream may come in
small bunches, but it is never late by more than a wake-up, and never drifts. How late tokens were is exported.

What it says, and how, is another's affair: `desk` reads requests and refuses as its provider does, `answer` writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from headrace.emulate.answer import Answer
from headrace.emulate.desk import EMULATED, JSON, Desk, Order
from headrace.emulate.fault import (
    CUT,
    GARBAGE,
    LATE,
    MALFORMED,
    NO_DONE,
    OVERLONG,
    POLITE,
    RESET,
    STALL,
    Fault,
)
from headrace.emulate.prompt import prefix_hashes
from headrace.errors import CapacityError, ModelRangeError
from headrace.http import Exchange, header_lines
from headrace.metrics import QuantileSketch
from headrace.modelserver import BLOCK_TOKENS, Job, Milestone, ModelServer
from headrace.wire.dialects import COMPATIBLE, Dialect

TEXT = header_lines((b"content-type", b"text/plain; version=0.0.4"), EMULATED)
HTML = header_lines((b"content-type", b"text/html"), EMULATED)
SHORTEST_WAIT_S = 0.001
NO_CHUNK = b"zz\r\n"


class Served(msgspec.Struct):
    """What a backend has served, by its own count.

    Attributes:
        taken: requests that it began to answer; each has completed, was broken off by one side, or is on its way.
        completed: answers whose end was sent; `output_tokens`: of these.
        broken_off_tokens: sent of answers that have no end.
    """

    taken: int = 0
    completed: int = 0
    output_tokens: int = 0
    broken_off: int = 0
    broken_off_tokens: int = 0


class EmulatedBackend:
    """Serves one model on one model server in real time.

    Attributes:
        desk: takes requests, scripts and lists of faults.
        lateness: seconds by which tokens were sent after they were due.
        served: what it has served.
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
        *,
        dialect: Dialect = COMPATIBLE,
    ) -> None:
        """
        Args:
            kv_room_tokens: what its KV usage is a fraction of; None: nobody knows.
            shares_prefixes: the model server has a prefix cache, so it is told the hashes of the input's blocks.
        """
        self.name = name
        self._model = model
        self.lateness = QuantileSketch()
        self.served = Served()
        self.desk = Desk(name, model, seed, dialect, server, self._take)
        self._server = server
        self._clock = clock
        self._shares_prefixes = shares_prefixes
        self._kv_room_tokens = kv_room_tokens
        self._answers: dict[int, Answer] = {}
        self._next_id = 1
        self._timer: asyncio.TimerHandle | None = None

    def handle(self, exchange: Exchange) -> None:
        """Answer one request: `http.server`'s handler."""
        if (exchange.method, exchange.path) == (b"GET", b"/metrics"):
            exchange.respond(200, TEXT, self._metrics())
        elif (exchange.method, exchange.path) == (b"GET", b"/emulated/served"):
            exchange.respond(200, JSON, msgspec.json.encode(self.served))
        else:
            self.desk.handle(exchange)

    def close(self) -> None:
        """Wake up no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, order: Order) -> None:
        """Begin to answer a request that the desk has read."""
        fault = order.fault
        if fault is not None and fault.what == LATE:
            order.fault = None
            asyncio.get_running_loop().call_later(fault.after_tokens or 0.0, self._take, order)
            return
        if fault is not None and fault.after_tokens is None and self._fails_at_once(order.exchange, fault):
            return
        job_id = self._next_id
        self._next_id += 1
        now_s = self._clock()
        self._advance(now_s)
        prefix = prefix_hashes(order.content) if self._shares_prefixes else ()
        block = BLOCK_TOKENS if prefix else 0
        try:
            job = Job(job_id, order.input_tokens, order.output_tokens, prefix, block, order.ceiling)
            self._server.submit(now_s, job)
        except (CapacityError, ModelRangeError) as error:
            self.desk.turn_away(order.exchange, error, now_s)
            return
        self._answers[job_id] = answer = order.answer(str(job_id))
        self.served.taken += 1
        answer.submitted_s = now_s
        order.exchange.on_gone = lambda: self._gone(job_id)
        self._wake_later(now_s)

    def _fails_at_once(self, exchange: Exchange, fault: Fault) -> bool:
        """Whether the fault is all of the answer."""
        if fault.error is not None:
            self.desk.refuse(exchange, fault.error)
        elif fault.what == CUT:
            exchange.abort()
        elif fault.what == RESET:
            exchange.reset()
        elif fault.what == GARBAGE:
            exchange.respond(200, HTML, b"<html><body>Welcome</body></html>")
        elif fault.what in (MALFORMED, OVERLONG):
            self._breaks_framing(exchange, fault.what)
        return fault.what not in (NO_DONE, POLITE)

    def _breaks_framing(self, exchange: Exchange, what: str) -> None:
        """An answer whose framing is wrong from its first byte on."""
        if what == OVERLONG:
            exchange.start(200, JSON, 6)
            exchange.write(b'{"id":"longer than its head says"}')
        else:
            exchange.start(200, JSON)
            exchange.write_raw(NO_CHUNK)
        exchange.finish()

    def _gone(self, job_id: int) -> None:
        answer = self._answers.pop(job_id, None)
        if answer is not None:
            self._broken_off(answer)
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
                self._send(answer, answer.output_tokens, now_s)
                self._answers.pop(job_id, None)
                if not self._breaks(job_id, answer):
                    self._finish(answer, now_s)
            else:
                due_s = self._server.token_due_s(job_id, answer.sent + 1)
                if due_s is not None and due_s <= now_s:
                    self.lateness.add(max(now_s - due_s, 1e-9))
                    self._send(answer, self._server.produced(now_s, job_id), now_s)
                    self._breaks(job_id, answer)

    def _send(self, answer: Answer, tokens: int, now_s: float) -> None:
        fault = answer.fault
        if fault is not None and fault.after_tokens is not None:
            tokens = min(tokens, fault.after_tokens)
        if answer.first_s is None:
            answer.first_s = now_s
        if answer.stream and (tokens > answer.sent or (tokens == 0 and fault is not None)):
            if answer.sent == 0:
                answer.exchange.start(200, self.desk.stream_head(now_s))
            answer.exchange.write(answer.said.piece(answer.sent, tokens))
        answer.sent = max(answer.sent, tokens)

    def _breaks(self, job_id: int, answer: Answer) -> bool:
        """Whether the answer's fault is due: then it happens, and the answer is over."""
        fault = answer.fault
        if fault is None or fault.after_tokens is None or answer.sent < min(fault.after_tokens, answer.output_tokens):
            return False
        answer.fault = None
        self._answers.pop(job_id, None)
        self._broken_off(answer)
        self._server.abort(self._clock(), job_id)
        exchange = answer.exchange
        exchange.on_gone = None
        if fault.error is not None and not answer.stream:
            self.desk.refuse(exchange, fault.error)
        elif fault.error is not None:
            exchange.write(answer.said.writer.error(fault.error))
            exchange.finish()
        elif fault.what == RESET:
            exchange.reset()
        elif fault.what == MALFORMED and answer.stream:
            exchange.write_raw(NO_CHUNK)
            exchange.finish()
        elif fault.what != STALL:
            if not answer.stream:
                exchange.start(200, JSON, None if fault.what == POLITE else 1000)
                exchange.write(b'{"id":')
            exchange.finish() if fault.what == POLITE else exchange.abort()
        return True

    def _broken_off(self, answer: Answer) -> None:
        self.served.broken_off += 1
        self.served.broken_off_tokens += answer.sent

    def _finish(self, answer: Answer, now_s: float) -> None:
        self.served.completed += 1
        self.served.output_tokens += answer.output_tokens
        exchange, usage, times = answer.exchange, answer.usage, answer.times(now_s)
        exchange.on_gone = None
        if not answer.stream:
            exchange.respond(200, self.desk.json_head(now_s), answer.said.whole(answer.finish_reason, usage, times))
            return
        if answer.fault is None or answer.fault.what != POLITE:
            exchange.write(answer.said.writer.end(answer.finish_reason, usage, times))
        exchange.finish()

    def _wake_later(self, now_s: float) -> None:
        """Set the one timer: the next change, or the next token of the stream that has one first."""
        times = [self._server.next_s()]
        times += [self._server.token_due_s(job, a.sent + 1) for job, a in self._answers.items() if a.stream or a.fault]
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
