"""Continuous batching whose KV blocks grow, are taken away, and are shared: `batching.py` with a full cache.

A step takes what it takes in `batching.py`. What differs is who is in it. At every step boundary, in this order:

1. *Grow.* Every sequence in decode gets the block that its next token needs. While there are not enough, the running
   job that came last is preempted: by **recompute** its KV is dropped, and it will prefill its input and its output so
   far again; by **swap** its KV goes to host memory, if it decodes and there is room. The next step lasts longer by the
   time that its copies take.
2. *Admit*, unless somebody was just preempted: first whose KV is elsewhere (swapped out, or received), then who was
   preempted by recompute, then who waits, each in order of arrival, the next only if the one before got in. One of
   `max_batch` slots must be free, and the blocks, above the watermark (which does not count when nothing runs); for a
   prefill, also room for its first tokens in the step's chunk.
3. *Step.*

Source: the scheduler of vLLM (growth, preemption of the last, no admission in a step that preempts, in `v1/core/sched`;
watermark and swapping as in its first version). There a prefill gets its blocks chunk by chunk; here at admission.

Nothing is decided before its time: a submission or an abort in the middle of a step ends the span at the boundary
ahead, and the decisions fall when that boundary is reached, with all that is known by then. `pages.py` says in closed
form after how many steps blocks run out, so a span still covers all steps up to the next change. A preempted job keeps
what it has delivered; its next token comes when it is back.

What is reported of a job lags by its overhead, as in `batching.py`; a preemption does not change it. Of the jobs that
run beside it those count too, as there, that only wait for the chunk: a slot and blocks are free for them.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import islice

from headrace.errors import ModelRangeError
from headrace.fleet import KvCache
from headrace.modelserver.clock import TokenClock
from headrace.modelserver.kv import BLOCK_TOKENS
from headrace.modelserver.line import BY_ARRIVAL, Line
from headrace.modelserver.pages import KvPages, PagedSequence
from headrace.modelserver.sequence import Outbox, Stage, check_time
from headrace.modelserver.server import Job, Milestone, Report
from headrace.modelserver.span import Span
from headrace.perf.speed import SpeedCurve


class PagedServer:
    """Implements `ModelServer` for one replica.

    Attributes:
        preemptions: how often a job was preempted.

    Raises:
        ModelRangeError: the curve has no step times up to `max_batch`, or no positive chunk.
    """

    def __init__(self, curve: SpeedCurve, settings: KvCache, kv_bytes_per_token: float = 0.0) -> None:
        """
        Args:
            kv_bytes_per_token: what a token takes in host memory and on the way there; needed to swap.
        """
        if curve.max_batch < 1 or len(curve.step_s) <= curve.max_batch or curve.chunk_tokens < 1:
            raise ModelRangeError(f"paged: max_batch {curve.max_batch} needs step times 0 to {curve.max_batch}")
        self._curve = curve
        self._pages = KvPages(curve.kv_capacity_tokens, settings, kv_bytes_per_token)
        self._outbox = Outbox(PagedSequence)
        self._clock = TokenClock(curve.overhead_s(0.0, jobs=0))
        self._line = Line()
        self._prefill: deque[PagedSequence] = deque()  # only the first may be partly done
        self._decode: dict[int, PagedSequence] = {}
        self._leaving: list[PagedSequence] = []  # aborted in the middle of the present step
        self._tail: list[tuple[PagedSequence, int]] = []  # who gets how many tokens in the span's irregular step
        self._tail_jobs = 0  # how many run beside them, they included
        self._finish_marks: list[tuple[int, int, PagedSequence]] = []
        self._context_tokens = 0
        self._grown = False  # this boundary's growth is done
        self._may_admit = True
        self._copy_s = 0.0  # what the next step's swap copies take
        self._now_s = 0.0
        self.preemptions = 0

    # -- what drivers call

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it waits until there is room. Raises ModelRangeError if it can never fit."""
        self._run(now_s)
        sequence = self._outbox.register(job, self._pages.kv)
        try:
            self._pages.enter(sequence, job)
        except ModelRangeError:
            self._outbox.drop(job.job_id)
            raise
        self._line.add(sequence)
        self._notice(now_s)

    def receive(self, now_s: float, job: Job, lag_s: float) -> None:
        """Accept a job that was prefilled elsewhere and has its first token: its KV is here and needs blocks only.

        Args:
            lag_s: by how much its tokens are seen later than they are computed.
        """
        self._run(now_s)
        sequence = self._outbox.register(job, self._pages.kv)
        sequence.resumes, sequence.kept = True, 1
        sequence.stints.append((-job.output_tokens, 1))  # before any step of this server
        sequence.first_due_s = now_s
        sequence.lag_s = self._clock.noted(lag_s)
        self._line.add(sequence)
        self._notice(now_s)

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job. What it holds is free from the next step boundary on."""
        self._run(now_s)
        sequence = self._outbox.drop(job_id)
        if sequence is None or sequence.stage is Stage.DELIVERY:
            return
        span = self._clock.span
        if sequence.stage is Stage.WAITING or span is None or span.start_s >= now_s:
            self._remove(sequence)
            self._notice(now_s)
        else:
            self._leaving.append(sequence)
            span.cut(span.boundary(now_s))

    def next_s(self) -> float | None:
        """When `advance` next reports something or decides anew; None when nothing runs."""
        due_s, span = self._outbox.next_s(), self._clock.span
        if span is None:
            return due_s
        span_s = span.end_s + self._clock.least_lag_s
        return span_s if due_s is None else min(due_s, span_s)

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        self._clock.forget(now_s)
        return self._outbox.release(now_s)

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        sequence = self._outbox.find(job_id)
        if sequence is None:
            return 0
        certain = sequence.tokens_certain(now_s)
        return certain if certain is not None else sequence.tokens_after(self._clock.delivered(now_s, sequence.lag_s))

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; past the present span, as if nothing else joined or finished.

        None if the job is not decoding, has no such token, or the token was due before the last `advance` but one.
        """
        sequence = self._outbox.find(job_id)
        if sequence is None or not 1 <= token <= sequence.output_tokens:
            return None
        if sequence.first_due_s is None or token == 1:
            return sequence.first_due_s
        if (step := sequence.step_of(token)) is None:
            return None
        end_s = self._clock.end_of(step, *self._decode_step_s())
        return None if end_s is None else end_s + sequence.lag_s

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""
        return len(self._decode) + len(self._prefill)

    @property
    def waiting(self) -> int:
        """Jobs that wait for room, those that were preempted among them."""
        return len(self._line)

    @property
    def busy_s(self) -> float:
        """Seconds with a step in flight, up to the last call."""
        return self._clock.busy_s(self._now_s)

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs hold, in whole blocks, each shared block once."""
        return self._pages.kv.allocated * BLOCK_TOKENS

    # -- the machine

    def _run(self, now_s: float) -> None:
        """Do every span that ends by `now_s`."""
        check_time(now_s, self._now_s)
        while (span := self._clock.span) is not None and span.end_s <= now_s:
            self._finish_span(span)
            self._plan()
        self._now_s = now_s

    def _notice(self, now_s: float) -> None:
        """Somebody came or went: if the first in line could now be in the next step, the span ends before that."""
        span = self._clock.span
        if span is None:
            self._clock.at_s = max(self._clock.at_s, now_s)
            self._plan()
        elif span.start_s >= now_s:
            self._plan()
        elif (first := self._line.first) and (first.resumes or not self._prefill) and self._has_room(first):
            span.cut(span.boundary(now_s))

    def _finish_span(self, span: Span) -> None:
        """Apply the span's steps, and let go of who left in the meantime."""
        clock = self._clock
        self._pages.grow(clock.steps + span.total - 1)
        if self._prefill and span.tail_s is None:
            self._prefill[0].prefilled += span.total * self._curve.chunk_tokens
        clock.end()
        self._context_tokens += span.total * len(self._decode)
        if span.tail_s is not None:
            self._apply_tail()
        self._finish_due()
        for sequence in self._leaving:
            if sequence.stage is not Stage.DELIVERY:
                self._remove(sequence)
        self._leaving.clear()
        self._grown = False
        self._copy_s = 0.0

    def _apply_tail(self) -> None:
        """The chunks are done; every prefill that they complete yields its first token, or its next."""
        clock = self._clock
        for sequence, chunk in self._tail:
            sequence.prefilled += chunk
            if sequence.prefilled < sequence.prefill_tokens:
                return
            self._prefill.popleft()
            self._start_decode(sequence, clock.steps - sequence.kept)
            self._pages.join(sequence, sequence.prefill_tokens + 1, clock.steps)
            if sequence.first_due_s is None:
                sequence.lag_s = clock.noted(self._curve.overhead_s(sequence.input_tokens, self._tail_jobs))
                sequence.first_due_s = clock.at_s + sequence.lag_s
                self._report(sequence, Milestone.FIRST_TOKEN)

    def _report(self, sequence: PagedSequence, milestone: Milestone) -> None:
        """Something was computed at this boundary."""
        self._outbox.add(self._clock.at_s + sequence.lag_s, sequence, milestone)

    def _start_decode(self, sequence: PagedSequence, first_mark: int) -> None:
        """From now on token n comes with step `first_mark` + n - 1."""
        sequence.stage = Stage.DECODE
        sequence.first_mark = float(first_mark)
        self._decode[sequence.job_id] = sequence
        self._context_tokens += sequence.input_tokens + self._tokens_of(sequence)
        heappush(self._finish_marks, (first_mark + sequence.output_tokens - 1, sequence.number, sequence))

    def _tokens_of(self, sequence: PagedSequence) -> int:
        """Output tokens of a decoding sequence."""
        return self._clock.steps - int(sequence.first_mark) + 1

    def _finish_due(self) -> None:
        """Finish every sequence whose last token came with the step just done."""
        clock = self._clock
        while (mark := self._next_finish()) is not None and mark <= clock.steps:
            sequence = heappop(self._finish_marks)[2]
            self._stop_decode(sequence)
            self._pages.leave(sequence, decoding=True)
            sequence.stage = Stage.DELIVERY
            self._report(sequence, Milestone.FINISHED)

    def _next_finish(self) -> int | None:
        """The step with which the next sequence finishes; marks of sequences that left before are dropped."""
        marks = self._finish_marks
        while marks:
            mark, _, sequence = marks[0]
            if sequence.stage is Stage.DECODE and sequence.first_mark + sequence.output_tokens - 1 == mark:
                return mark
            heappop(marks)
        return None

    def _stop_decode(self, sequence: PagedSequence) -> None:
        self._context_tokens -= sequence.input_tokens + self._tokens_of(sequence)
        del self._decode[sequence.job_id]

    def _remove(self, sequence: PagedSequence) -> None:
        """Take an aborted sequence out of wherever it is."""
        if sequence.stage is Stage.PREFILL:
            self._prefill.remove(sequence)
            self._pages.leave(sequence, decoding=False)
        elif sequence.stage is Stage.DECODE:
            self._stop_decode(sequence)
            self._pages.leave(sequence, decoding=True)
        else:
            self._line.remove(sequence)
            self._pages.forget_host(sequence)
        sequence.stage = Stage.ENDED

    # -- decisions at a boundary

    def _plan(self) -> None:
        """Grow, preempt and admit at the boundary where the state stands, and lay out the steps up to the next one."""
        if not self._grown:
            self._may_admit = not self._make_room()
            self._pages.grow(self._clock.steps)
            self._grown = True
        if self._may_admit:
            self._admit()
        self._clock.span = self._next_span() if self._decode or self._prefill else None

    def _make_room(self) -> bool:
        """Preempt until every decoding sequence can do its next step; returns whether anybody was."""
        preempted = False
        while not self._pages.kv.fits(self._pages.growth(self._clock.steps)):
            self._preempt(max((*self._decode.values(), *self._prefill), key=BY_ARRIVAL))
            preempted = True
        return preempted

    def _preempt(self, sequence: PagedSequence) -> None:
        self.preemptions += 1
        if sequence.stage is Stage.PREFILL:
            self._prefill.remove(sequence)
            self._pages.leave(sequence, decoding=False)
        else:
            sequence.kept = self._tokens_of(sequence)
            sequence.stints.append((int(sequence.first_mark), sequence.kept))
            self._stop_decode(sequence)
            self._drop_or_swap(sequence)
        sequence.stage = Stage.WAITING
        self._line.add(sequence)

    def _drop_or_swap(self, sequence: PagedSequence) -> None:
        if self._pages.can_swap_out(sequence):
            self._copy_s += self._pages.swap_out(sequence)
        else:
            self._pages.leave(sequence, decoding=True)
            sequence.prefill_tokens = sequence.input_tokens + sequence.kept

    def _has_room(self, sequence: PagedSequence) -> bool:
        running = self.running
        return running < self._curve.max_batch and self._pages.fits(sequence, alone=not running)

    def _admit(self) -> None:
        """Let in who is first in line while there is room; a prefill also needs room in the step's chunk."""
        room = self._curve.chunk_tokens - sum(each.prefill_tokens - each.prefilled for each in self._prefill)
        while (sequence := self._line.first) is not None and self._has_room(sequence):
            if sequence.resumes:
                self._line.remove(sequence)
                steps = self._clock.steps
                self._copy_s += self._pages.resume(sequence, steps)
                self._start_decode(sequence, steps + 1 - sequence.kept)
                continue
            if room <= 0:
                return
            self._line.remove(sequence)
            self._pages.admit(sequence)
            sequence.stage = Stage.PREFILL
            self._prefill.append(sequence)
            room -= sequence.prefill_tokens - sequence.prefilled

    # -- spans

    def _next_span(self) -> Span:
        """The steps up to the first finish, the last block, or before the step that completes a prefill."""
        curve, clock = self._curve, self._clock
        step_s, growth_s = self._decode_step_s()
        limits = self._steps_until_change()
        if self._prefill:
            chunk, head = curve.chunk_tokens, self._prefill[0]
            whole = (head.prefill_tokens - head.prefilled - 1) // chunk
            if whole == 0 or self._copy_s:
                return Span(clock.at_s, clock.steps, 0, step_s, 0.0, step_s + self._fill_chunk() + self._copy_s)
            limits.append(whole)
            step_s += curve.chunk_s(head.prefilled, chunk)
            growth_s += 2.0 * curve.prefill_s_per_token_squared * chunk * chunk
        elif self._copy_s:
            self._tail = []
            return Span(clock.at_s, clock.steps, 0, step_s, 0.0, step_s + self._copy_s)
        return Span(clock.at_s, clock.steps, min(limits), step_s, growth_s)

    def _decode_step_s(self) -> tuple[float, float]:
        """The next step but for prefills and copies, and by how much each further one is longer."""
        curve, batch = self._curve, len(self._decode)
        return curve.step_s[batch] + curve.kv_s_per_token * self._context_tokens, curve.kv_s_per_token * batch

    def _steps_until_change(self) -> list[int]:
        """Steps until a sequence finishes, blocks run out, or an admission that was put off is due."""
        limits = [] if self._may_admit else [1]
        if (finish := self._next_finish()) is not None:
            limits.append(finish - self._clock.steps)
        if (possible := self._pages.steps_possible()) is not None:
            limits.append(possible)
        return limits

    def _fill_chunk(self) -> float:
        """Share one step's chunk among the prefills; returns the seconds that they add."""
        curve, room = self._curve, self._curve.chunk_tokens
        self._tail, self._tail_jobs = [], self.running + self._held_back()
        cost_s = 0.0
        for sequence in self._prefill:
            tokens = min(room, sequence.prefill_tokens - sequence.prefilled)
            self._tail.append((sequence, tokens))
            cost_s += curve.chunk_s(sequence.prefilled, tokens)
            if sequence.prefilled + tokens == sequence.prefill_tokens:
                cost_s += curve.prefill_fixed_s
            room -= tokens
        return cost_s

    def _held_back(self) -> int:
        """Jobs that nothing but the room in the chunk keeps from running."""
        slots = self._curve.max_batch - self.running
        return self._pages.fitting(islice(self._line, slots)) if self._may_admit else 0
