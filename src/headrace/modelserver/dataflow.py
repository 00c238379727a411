"""An SRAM pipeline: how chips that keep the weights on chip serve.

The weights stay where they are and tokens flow past them. Prefill has a lane of its own, one job at a time, first come
first served, and does not slow decode. A decoding sequence takes `step_s[1]` per token as long as no more than `depth`
sequences are in the pipeline; beyond that they share it, and each slows down by active / depth. What limits the
replica is KV: it lies in the same SRAM as the weights. A job enters the lane when the lane, one of `max_batch` slots
and KV room for its input and output are free.

All sequences in decode run at the same pace, so one **token clock** serves them all: its reading grows by one per
token time, piecewise linearly. A sequence whose first token came at reading v has its n-th at v + n - 1; one heap of
final readings says who finishes next. Between two changes nothing is computed at all.

`ttft_overhead_s` delays everything that is *reported* of a job, as in `batching.py`. A token time that grows with the
context would differ between sequences and has no common clock: a curve with `kv_s_per_token` is refused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from math import inf

from headrace.errors import ModelRangeError
from headrace.modelserver.kv import BLOCK_TOKENS, KvBlocks
from headrace.modelserver.sequence import Outbox, Sequence, Stage, check_time
from headrace.modelserver.server import Job, Milestone, Report
from headrace.perf.speed import SpeedCurve


class _Segment:
    """A stretch of the token clock: from `start_s` and reading `mark` on, one token takes `token_s`."""

    __slots__ = ("mark", "start_s", "token_s")

    def __init__(self, start_s: float, mark: float, token_s: float) -> None:
        self.start_s = start_s
        self.mark = mark
        self.token_s = token_s

    def time_of(self, mark: float) -> float:
        """When the clock reads `mark`."""
        return self.start_s + (mark - self.mark) * self.token_s


class DataflowServer:
    """Implements `ModelServer` for one replica.

    Raises:
        ModelRangeError: the curve has no token time, no depth or no slot, or a token time that grows with the context.
    """

    def __init__(self, curve: SpeedCurve) -> None:
        if len(curve.step_s) < 2 or curve.step_s[1] <= 0.0 or curve.depth < 1 or curve.max_batch < 1:
            raise ModelRangeError("dataflow: step_s[1] > 0, depth >= 1 and max_batch >= 1 are needed")
        if curve.kv_s_per_token != 0.0:
            raise ModelRangeError("dataflow: a token time that grows with the context is not modelled; set it to 0")
        self._curve = curve
        self._lag_s = curve.ttft_overhead_s
        self._kv = KvBlocks(curve.kv_capacity_tokens)
        self._outbox = Outbox(Sequence)
        self._waiting: OrderedDict[int, Sequence] = OrderedDict()
        self._lane: Sequence | None = None
        self._lane_free_s = 0.0
        self._change_s = inf  # when the lane is next free, or the next sequence finishes
        self._finish_marks: list[tuple[float, int, Sequence]] = []
        self._decoding = 0
        self._segment = _Segment(0.0, 0.0, curve.step_s[1])
        self._past: deque[_Segment] = deque()
        self._now_s = 0.0
        self._released_s = 0.0
        self._ended_busy_s = 0.0
        self._busy_since_s: float | None = None

    # -- what drivers call

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it waits until there is room. Raises ModelRangeError if it can never fit."""
        self._run(now_s)
        sequence = self._outbox.register(job, self._kv)
        self._waiting[job.job_id] = sequence
        if self._lane is None:
            self._feed_lane(now_s)

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job and free what it holds. Unknown or ended jobs are ignored."""
        self._run(now_s)
        sequence = self._outbox.drop(job_id)
        if sequence is None:
            return
        if sequence.stage is Stage.WAITING:
            del self._waiting[job_id]
        elif sequence.stage is Stage.PREFILL:
            self._lane = None
            self._kv.release(sequence.blocks)
        elif sequence.stage is Stage.DECODE:
            self._turn(now_s, self._reading(now_s), -1)
            self._kv.release(sequence.blocks)
        sequence.stage = Stage.ENDED
        self._feed_lane(now_s)

    def next_s(self) -> float | None:
        """When `advance` will next have something to report; None when nothing runs."""
        due_s = self._outbox.next_s()
        if due_s is not None:
            return due_s
        return None if self._change_s == inf else self._change_s + self._lag_s

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        past = self._past
        while len(past) > 1 and past[1].start_s + self._lag_s < self._released_s:
            past.popleft()
        self._released_s = now_s
        return self._outbox.release(now_s)

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        sequence = self._outbox.find(job_id)
        if sequence is None:
            return 0
        certain = sequence.tokens_certain(now_s)
        if certain is not None:
            return certain
        last = sequence.output_tokens
        tokens = min(max(int(self._mark_at(now_s - self._lag_s) - sequence.first_mark) + 1, 1), last)
        while tokens < last and self._delivered(sequence, tokens + 1, now_s):
            tokens += 1
        while tokens > 1 and not self._delivered(sequence, tokens, now_s):
            tokens -= 1
        return tokens

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due if nothing else joins or finishes.

        None if the job is not decoding, has no such token, or the token was due before the last `advance` but one.
        """
        sequence = self._outbox.find(job_id)
        if sequence is None or not 1 <= token <= sequence.output_tokens:
            return None
        if sequence.first_due_s is None or token == 1:
            return sequence.first_due_s
        at_s = self._time_of(sequence.first_mark + token - 1)
        return None if at_s is None else at_s + self._lag_s

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""
        return self._decoding + (self._lane is not None)

    @property
    def waiting(self) -> int:
        """Jobs that wait for room or for the lane."""
        return len(self._waiting)

    @property
    def busy_s(self) -> float:
        """Seconds with at least one running job, up to the last call."""
        if self._busy_since_s is None:
            return self._ended_busy_s
        return self._ended_busy_s + self._now_s - self._busy_since_s

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs have reserved, in whole blocks."""
        return self._kv.allocated * BLOCK_TOKENS

    # -- the machine

    def _run(self, now_s: float) -> None:
        """Apply every change up to `now_s`."""
        check_time(now_s, self._now_s)
        while self._change_s <= now_s:
            change_s, lane = self._change_s, self._lane
            if lane is None or self._finish_s() <= change_s:
                self._finish(change_s)
            else:
                self._start_decode(change_s, lane)
            self._feed_lane(change_s)
        self._now_s = now_s

    def _finish_s(self) -> float:
        """When the next sequence finishes; infinite if none is in decode."""
        marks = self._finish_marks
        while marks and marks[0][2].dropped:
            heappop(marks)
        return self._segment.time_of(marks[0][0]) if marks else inf

    def _finish(self, at_s: float) -> None:
        mark, _, sequence = heappop(self._finish_marks)
        at_s = max(at_s, self._segment.start_s)  # rounding must not end a job before it began
        self._turn(at_s, mark, -1)
        self._kv.release(sequence.blocks)
        sequence.stage = Stage.DELIVERY
        self._outbox.add(at_s + self._lag_s, sequence, Milestone.FINISHED)

    def _start_decode(self, at_s: float, sequence: Sequence) -> None:
        """The lane's prefill is done: its job has its first token."""
        self._lane = None
        mark = self._reading(at_s)
        self._turn(at_s, mark, +1)
        sequence.stage = Stage.DECODE
        sequence.first_mark = mark
        sequence.first_due_s = at_s + self._lag_s
        heappush(self._finish_marks, (mark + sequence.output_tokens - 1, sequence.number, sequence))
        self._outbox.add(sequence.first_due_s, sequence, Milestone.FIRST_TOKEN)

    def _feed_lane(self, now_s: float) -> None:
        """Let the first waiting job into the lane, if there is room; keep count of busy time; see what comes next."""
        if self._lane is None and self._waiting and self._decoding < self._curve.max_batch:
            sequence = next(iter(self._waiting.values()))
            if self._kv.fits(sequence.blocks):
                self._waiting.popitem(last=False)
                self._kv.allocate(sequence.blocks)
                sequence.stage = Stage.PREFILL
                self._lane = sequence
                self._lane_free_s = now_s + self._curve.prefill_s(sequence.input_tokens)
        running = self._decoding > 0 or self._lane is not None
        if running and self._busy_since_s is None:
            self._busy_since_s = now_s
        elif not running and self._busy_since_s is not None:
            self._ended_busy_s += now_s - self._busy_since_s
            self._busy_since_s = None
        self._change_s = self._finish_s() if self._lane is None else min(self._lane_free_s, self._finish_s())

    def _turn(self, at_s: float, mark: float, change: int) -> None:
        """Go on at a new pace from `at_s`, where the clock reads `mark`, with `change` sequences more in decode."""
        self._decoding += change
        pace = max(1.0, self._decoding / self._curve.depth)
        self._past.append(self._segment)
        self._segment = _Segment(at_s, mark, self._curve.step_s[1] * pace)

    # -- the token clock

    def _reading(self, at_s: float) -> float:
        """What the clock reads at `at_s`, in the present segment; rounding never takes it past the next finish."""
        mark = self._mark_at(at_s)
        return min(mark, self._finish_marks[0][0]) if self._finish_marks else mark

    def _mark_at(self, at_s: float) -> float:
        segment = self._segment
        if segment.start_s > at_s:
            segment = next((past for past in reversed(self._past) if past.start_s <= at_s), self._past[0])
        return segment.mark + (at_s - segment.start_s) / segment.token_s

    def _time_of(self, mark: float) -> float | None:
        """When the clock reads `mark`: in the newest segment that begins before it. None: too long ago."""
        if self._segment.mark < mark:
            return self._segment.time_of(mark)
        return next((past.time_of(mark) for past in reversed(self._past) if past.mark < mark), None)

    def _delivered(self, sequence: Sequence, token: int, now_s: float) -> bool:
        at_s = self._time_of(sequence.first_mark + token - 1)
        return at_s is None or at_s + self._lag_s <= now_s
