"""Continuous batching with chunked prefill: how chips with external memory serve.

The server runs steps, one after the other. A step decodes one token of every sequence in decode and carries up to
`chunk_tokens` input tokens of prefill, first come first served: of the oldest job that is not through, and of the next
ones while the chunk has room. It takes

    step_s[B] + kv_s_per_token * K + sum over its chunks of (prefill_s(o + c) - prefill_s(o))
                                   + prefill_fixed_s for each prefill that it completes

with B sequences in decode that hold K context tokens, and c input tokens of a job of which o were done. The step that
completes a prefill yields the job's first token. Jobs are admitted in
order of arrival, at step boundaries only, when one of `max_batch` slots and KV room for input *and* output are free;
reserving both means that nothing is ever preempted (preemption is not modelled yet). A job that comes in the middle of
a step joins the next one.

Two ideas keep it cheap and exact.

*Fast-forward.* Between two changes of the batch the time of the n-th step has a closed form (`span.py`), so the server
jumps from milestone to milestone. All sequences share one token clock, the number of steps done: a sequence with its
first token at reading m finishes at m + output_tokens - 1, and one heap of those marks says who is next.

*The state stands on a step boundary.* A step that has begun cannot change. So a submission or an abort settles the
step in flight at once, which puts the state on the boundary ahead (by less than a step), and plans on from there.
`running` may thus count a job that joins at the end of the present step, and what an abort frees is counted as free
at once; the hardware's time is kept exactly.

The overhead of TTFT (`SpeedCurve.overhead_s`: network, tokenizer, scheduler; longer for a long prompt, and where many
jobs are running when its prefill is done) delays everything that the server *reports* of a job by the same amount: TTFT
grows by it, TPOT does not, slots and KV are held by computing jobs only.
`busy_s` counts time in which a step is in flight.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush

from headrace.errors import ModelRangeError
from headrace.modelserver.kv import BLOCK_TOKENS, KvBlocks
from headrace.modelserver.sequence import Outbox, Sequence, Stage, check_time
from headrace.modelserver.server import Job, Milestone, Report
from headrace.modelserver.span import Span
from headrace.perf.speed import SpeedCurve


class BatchingServer:
    """Implements `ModelServer` for one replica.

    Raises:
        ModelRangeError: the curve has no step times up to `max_batch`, or no positive chunk.
    """

    def __init__(self, curve: SpeedCurve) -> None:
        if curve.max_batch < 1 or len(curve.step_s) <= curve.max_batch or curve.chunk_tokens < 1:
            raise ModelRangeError(
                f"batching: max_batch {curve.max_batch} needs step times 0 to {curve.max_batch} (got "
                f"{len(curve.step_s)}) and chunk_tokens >= 1 (got {curve.chunk_tokens})"
            )
        self._curve = curve
        self._least_lag_s = self._longest_lag_s = curve.overhead_s(0.0, jobs=0)
        self._max_batch = curve.max_batch
        self._kv = KvBlocks(curve.kv_capacity_tokens)
        self._outbox = Outbox(Sequence)
        self._waiting: OrderedDict[int, Sequence] = OrderedDict()
        self._prefill: deque[Sequence] = deque()
        self._tail: list[tuple[Sequence, int]] = []  # who gets how many input tokens in the span's irregular step
        self._finish_marks: list[tuple[int, int, Sequence]] = []
        self._decoding = 0
        self._context_tokens = 0
        self._steps = 0  # the token clock: steps done at the boundary where the state stands
        self._clock_s = 0.0  # time of that boundary
        self._span: Span | None = None
        self._past: deque[Span] = deque()
        self._now_s = 0.0
        self._released_s = 0.0
        self._settled_busy_s = 0.0

    # -- what drivers call

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it waits until there is room. Raises ModelRangeError if it can never fit."""
        self._run(now_s)
        sequence = self._outbox.register(job, self._kv)
        self._waiting[job.job_id] = sequence
        if len(self._waiting) == 1 and self._has_room(sequence):
            self._settle(now_s)
            self._plan()

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job and free what it holds; the step in flight still runs to its end."""
        self._run(now_s)
        sequence = self._outbox.drop(job_id)
        if sequence is None:
            return
        self._settle(now_s)
        self._remove(sequence)
        self._plan()

    def next_s(self) -> float | None:
        """When to `advance` next: not after the next report, and seldom before it; None when nothing runs."""
        due_s = self._outbox.next_s()
        if self._span is None:
            return due_s
        span_s = self._span.end_s + self._least_lag_s
        return span_s if due_s is None else min(due_s, span_s)

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        past = self._past
        while past and past[0].end_s + self._longest_lag_s < self._released_s:
            past.popleft()
        self._released_s = now_s
        return self._outbox.release(now_s)

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        sequence = self._outbox.find(job_id)
        if sequence is None:
            return 0
        tokens = sequence.tokens_certain(now_s)
        if tokens is None:
            tokens = self._steps_delivered(now_s, sequence.lag_s) - int(sequence.first_mark) + 1
        return min(max(tokens, 0), sequence.output_tokens)

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; past the present span, as if nothing else joined or finished.

        None if the job is not decoding, has no such token, or the token was due before the last `advance` but one.
        """
        sequence = self._outbox.find(job_id)
        if sequence is None or not 1 <= token <= sequence.output_tokens:
            return None
        if sequence.first_due_s is None or token == 1:
            return sequence.first_due_s
        mark = int(sequence.first_mark) + token - 1
        end_s = self._future_boundary_s(mark) if mark > self._steps else self._past_boundary_s(mark)
        return None if end_s is None else end_s + sequence.lag_s

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""
        return self._decoding + len(self._prefill)

    @property
    def waiting(self) -> int:
        """Jobs that wait for room."""
        return len(self._waiting)

    @property
    def busy_s(self) -> float:
        """Seconds with a step in flight, up to the last call."""
        if self._span is not None and self._span.start_s <= self._now_s:
            return self._settled_busy_s + self._now_s - self._span.start_s
        return self._settled_busy_s - max(0.0, self._clock_s - self._now_s)

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs have reserved, in whole blocks."""
        return self._kv.allocated * BLOCK_TOKENS

    # -- the machine

    def _run(self, now_s: float) -> None:
        """Settle every span that ends by `now_s`."""
        if now_s < self._now_s:
            check_time(now_s, self._now_s)
        while (span := self._span) is not None and span.end_s <= now_s:
            self._commit(span, span.total)
            self._plan()
        self._now_s = now_s

    def _settle(self, now_s: float) -> None:
        """Put the state on the first step boundary at or after `now_s`."""
        if self._span is None:
            self._clock_s = max(self._clock_s, now_s)
        else:
            self._commit(self._span, self._span.boundary(now_s))

    def _commit(self, span: Span, steps: int) -> None:
        """Apply the first `steps` steps of the span, which is then over."""
        completes = steps > span.steps
        if self._prefill:
            self._prefill[0].prefilled += min(steps, span.steps) * self._curve.chunk_tokens
        span.cut(steps)
        self._span = None
        if steps == 0:
            return
        self._settled_busy_s += span.end_s - span.start_s
        self._clock_s = span.end_s
        self._steps += steps
        self._context_tokens += steps * self._decoding
        self._past.append(span)
        if completes:
            self._apply_tail()
        self._finish_due()

    def _apply_tail(self) -> None:
        """The irregular step: its chunks are done, and every prefill that they complete yields its first token."""
        jobs = self.running
        for sequence, chunk in self._tail:
            sequence.prefilled += chunk
            if sequence.prefilled < sequence.input_tokens:
                break
            self._prefill.popleft()
            sequence.stage = Stage.DECODE
            sequence.first_mark = float(self._steps)
            sequence.lag_s = self._curve.overhead_s(sequence.input_tokens, jobs)
            self._longest_lag_s = max(self._longest_lag_s, sequence.lag_s)
            sequence.first_due_s = self._clock_s + sequence.lag_s
            self._decoding += 1
            self._context_tokens += sequence.input_tokens + 1
            finish_mark = self._steps + sequence.output_tokens - 1
            heappush(self._finish_marks, (finish_mark, sequence.number, sequence))
            self._outbox.add(sequence.first_due_s, sequence, Milestone.FIRST_TOKEN)

    def _finish_due(self) -> None:
        """Finish every sequence whose last token came with the step just done."""
        marks = self._finish_marks
        while marks and marks[0][0] <= self._steps:
            sequence = heappop(marks)[2]
            if sequence.stage is Stage.DECODE:
                self._leave_decode(sequence)
                self._outbox.add(self._clock_s + sequence.lag_s, sequence, Milestone.FINISHED)

    def _leave_decode(self, sequence: Sequence) -> None:
        self._decoding -= 1
        self._context_tokens -= sequence.input_tokens + self._steps - int(sequence.first_mark) + 1
        self._kv.release(sequence.blocks)
        sequence.stage = Stage.DELIVERY

    def _remove(self, sequence: Sequence) -> None:
        """Take an aborted sequence out of wherever it is."""
        if sequence.stage is Stage.WAITING:
            del self._waiting[sequence.job_id]
        elif sequence.stage is Stage.PREFILL:
            self._prefill.remove(sequence)
            self._kv.release(sequence.blocks)
        elif sequence.stage is Stage.DECODE:
            self._leave_decode(sequence)
        sequence.stage = Stage.ENDED

    def _has_room(self, sequence: Sequence) -> bool:
        return self._decoding + len(self._prefill) < self._max_batch and self._kv.fits(sequence.blocks)

    def _admit(self) -> None:
        """Let waiting jobs in, in order, while there is room."""
        while self._waiting:
            sequence = next(iter(self._waiting.values()))
            if not self._has_room(sequence):
                return
            self._waiting.popitem(last=False)
            self._kv.allocate(sequence.blocks)
            sequence.stage = Stage.PREFILL
            self._prefill.append(sequence)

    def _plan(self) -> None:
        """Admit who fits, and lay out the steps up to the next milestone from the boundary where the state stands."""
        if self._waiting:
            self._admit()
        marks = self._finish_marks
        while marks and marks[0][2].dropped:
            heappop(marks)
        if self._prefill:
            self._span = self._prefill_span(marks[0][0] - self._steps if marks else None)
        elif marks:
            self._span = self._decode_span(marks[0][0] - self._steps)
        else:
            self._span = None

    def _decode_span(self, steps: int) -> Span:
        curve = self._curve
        first_s = curve.step_s[self._decoding] + curve.kv_s_per_token * self._context_tokens
        return Span(self._clock_s, self._steps, steps, first_s, curve.kv_s_per_token * self._decoding)

    def _prefill_span(self, until_finish: int | None) -> Span:
        """Whole chunks of the oldest prefill, then the step that completes it, unless a sequence finishes before."""
        curve, head = self._curve, self._prefill[0]
        chunk = curve.chunk_tokens
        whole = (head.input_tokens - head.prefilled - 1) // chunk
        decode_s = curve.step_s[self._decoding] + curve.kv_s_per_token * self._context_tokens
        growth_s = curve.kv_s_per_token * self._decoding
        first_s = decode_s + curve.chunk_s(head.prefilled, chunk)
        chunk_growth_s = 2.0 * curve.prefill_s_per_token_squared * chunk * chunk
        if until_finish is not None and until_finish <= whole:
            return Span(self._clock_s, self._steps, until_finish, first_s, growth_s + chunk_growth_s)
        tail_s = decode_s + whole * growth_s + self._fill_tail(head.prefilled + whole * chunk)
        return Span(self._clock_s, self._steps, whole, first_s, growth_s + chunk_growth_s, tail_s)

    def _fill_tail(self, head_prefilled: int) -> float:
        """Share the completing step's chunk among the oldest prefills; returns the seconds that they add."""
        curve, room = self._curve, self._curve.chunk_tokens
        prefilled = head_prefilled
        self._tail = []
        cost_s = 0.0
        for sequence in self._prefill:
            tokens = min(room, sequence.input_tokens - prefilled)
            self._tail.append((sequence, tokens))
            cost_s += curve.chunk_s(prefilled, tokens)
            if prefilled + tokens == sequence.input_tokens:
                cost_s += curve.prefill_fixed_s
            room -= tokens
            if room == 0:
                break
            prefilled = 0
        return cost_s

    # -- where a step lies in time

    def _steps_delivered(self, now_s: float, lag_s: float) -> int:
        """The token clock as it is seen `lag_s` late at `now_s`."""
        span = self._span
        if span is not None and span.start_s + lag_s <= now_s:
            return span.mark + span.steps_by(now_s, lag_s)
        for past in reversed(self._past):
            if past.start_s + lag_s <= now_s:
                return past.mark + past.steps_by(now_s, lag_s)
        return self._past[0].mark if self._past else self._steps

    def _past_boundary_s(self, mark: int) -> float | None:
        for span in reversed(self._past):
            if span.mark < mark:
                return span.time_after(mark - span.mark)
        return None

    def _future_boundary_s(self, mark: int) -> float | None:
        """End of the step number `mark`, which lies in the present span or after it."""
        span = self._span
        if span is None:
            return None
        if mark - span.mark <= span.total:
            return span.time_after(mark - span.mark)
        curve = self._curve
        growth_s = curve.kv_s_per_token * self._decoding
        first_s = curve.step_s[self._decoding] + curve.kv_s_per_token * self._context_tokens + growth_s * span.total
        return span.time_beyond(mark - span.mark - span.total, first_s, growth_s)
