"""A paged server as its definition says: run step by step, with every block counted one by one. Slow and plain."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import replace
from typing import NamedTuple

from hypothesis import strategies as st

from headrace.fleet import KvCache, KvPolicy, Preemption
from headrace.modelserver import BLOCK_TOKENS, Job
from headrace.perf import Serving, SpeedCurve

# Figures without common multiples, so that no event falls on a step boundary by arithmetic.
CURVE = SpeedCurve(
    serving=Serving.BATCHING,
    ttft_overhead_s=0.01737,
    prefill_s_per_token=3.1e-4,
    prefill_s_per_token_squared=2.3e-7,
    step_s=(0.0021, 0.0107, 0.0113, 0.0129, 0.0131, 0.0137),
    kv_s_per_token=1.7e-6,
    max_batch=5,
    chunk_tokens=96,
    depth=1,
    kv_capacity_tokens=1000,
    power_w=None,
    prefill_fixed_s=0.00417,
    ttft_overhead_s_per_token=6.1e-5,
    ttft_overhead_s_per_sequence=0.00293,
)
TICK_S = 0.0071931
HASHED = 32  # tokens of a hashed block
KV_BYTES = 1000.0
GROW = KvCache(policy=KvPolicy.GROW, watermark=0.05)
SETTINGS = {
    "recompute": GROW,
    "swap": replace(GROW, preemption=Preemption.SWAP, swap_bytes=600 * KV_BYTES, swap_bytes_per_s=2.9e6),
    "prefix": KvCache(prefix_cache=True),
    "prefix and recompute": replace(GROW, prefix_cache=True),
    "prefix and swap": replace(
        GROW, prefix_cache=True, preemption=Preemption.SWAP, swap_bytes=300 * KV_BYTES, swap_bytes_per_s=2.9e6
    ),
}


class Script(NamedTuple):
    job: Job
    submit_s: float
    abort_s: float | None
    received_lag_s: float | None = None  # prefilled elsewhere: its KV is here, and its tokens are seen that late


class Held:
    """A job that is or was admitted."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = 0  # tokens prefilled
        self.tokens = 0  # output tokens
        self.private = 0  # blocks of its own
        self.shared: list[int] = []  # hashes of the blocks that it shares
        self.decoding = False
        self.received = False
        self.cached: int | None = None
        self.goal = job.input_tokens

    @property
    def context(self) -> int:
        return self.job.input_tokens + self.tokens


class Stepwise:
    """The definition of a paged server, executed literally: one step at a time, one block at a time."""

    def __init__(self, curve: SpeedCurve, kv: KvCache, scripts: list[Script]) -> None:
        self.curve, self.kv = curve, kv
        self.due = sorted(
            [(s.submit_s, s.job.job_id, 0 if s.received_lag_s is None else 2, s.job) for s in scripts]
            + [(s.abort_s, s.job.job_id, 1, s.job) for s in scripts if s.abort_s is not None]
        )
        self.total = (curve.kv_capacity_tokens or 0) // BLOCK_TOKENS
        self.host_total = int(kv.swap_bytes / KV_BYTES) // BLOCK_TOKENS
        self.watermark = int(kv.watermark * self.total) if kv.policy is KvPolicy.GROW else 0
        self.line: list[Held] = []  # waits, in order of arrival: preempted by recompute first, as they came earlier
        self.swapped: list[Held] = []
        self.running: list[Held] = []
        self.idle: OrderedDict[int, None] = OrderedDict()
        self.tokens: dict[int, list[float]] = defaultdict(list)
        self.lag_s = {s.job.job_id: s.received_lag_s for s in scripts if s.received_lag_s is not None}
        self.cached: dict[int, int] = {}
        self.preemptions = 0

    # blocks

    def hashes(self, held: Held) -> list[int]:
        return list(held.job.prefix[: held.job.input_tokens // HASHED]) if self.kv.prefix_cache else []

    def allocated(self) -> int:
        shared = {block for held in self.running for block in held.shared}
        return sum(held.private for held in self.running) + len(shared) * (HASHED // BLOCK_TOKENS)

    def free(self) -> int:
        return self.total - self.allocated()

    def trim(self) -> None:
        while self.idle and len(self.idle) * (HASHED // BLOCK_TOKENS) > self.free():
            self.idle.popitem(last=False)

    def held_by_others(self, but: Held) -> set[int]:
        return {block for held in self.running if held is not but for block in held.shared}

    def found(self, held: Held) -> list[int]:
        run = []
        for block in self.hashes(held)[: (held.goal - 1) // HASHED]:
            if block not in self.idle and block not in self.held_by_others(held):
                break
            run.append(block)
        return run

    def let_go(self, held: Held) -> None:
        """After it left `running`."""
        filled = self.hashes(held)[: held.done // HASHED]
        for block in reversed(held.shared):
            if block not in self.held_by_others(held) and block in filled:
                self.idle[block] = None
        held.shared, held.private = [], 0

    def reserve(self, held: Held) -> int:
        whole = held.job.input_tokens + held.job.output_tokens
        return -(-(held.goal if self.kv.policy is KvPolicy.GROW else whole) // BLOCK_TOKENS)

    # the machine

    def run(self) -> None:
        now_s = 0.0
        while True:
            while self.due and self.due[0][0] <= now_s:
                self.apply(*self.due.pop(0)[2:])
            copies_s, preempted = self.make_room()
            held_back = 0
            if not preempted:
                copies_s += self.admit()
                held_back = self.held_back()
            assert self.allocated() + self.free() == self.total
            assert self.free() >= len(self.idle) * (HASHED // BLOCK_TOKENS)
            if self.running:
                now_s = self.step(now_s + copies_s, len(self.running) + held_back)
            elif self.due:
                now_s = self.due[0][0]
            else:
                assert not self.line
                assert not self.swapped
                return

    def apply(self, what: int, job: Job) -> None:
        if what == 0:
            self.line.append(Held(job))
        elif what == 1:
            self.drop(job)
        else:
            held = Held(job)
            held.tokens, held.decoding, held.received = 1, True, True
            self.swapped = sorted([*self.swapped, held], key=lambda held: held.job.job_id)

    def drop(self, job: Job) -> None:
        for place in (self.line, self.swapped, self.running):
            for held in [held for held in place if held.job is job]:
                place.remove(held)
                if place is self.running:
                    self.let_go(held)

    def make_room(self) -> tuple[float, bool]:
        copies_s, preempted = 0.0, False
        if self.kv.policy is KvPolicy.RESERVE:
            return 0.0, False
        for held in sorted(self.running, key=lambda held: held.job.job_id):
            while held in self.running and held.decoding and self.lacks(held):
                if self.free():
                    held.private += 1
                    self.trim()
                    continue
                victim = max(self.running, key=lambda held: held.job.job_id)
                copies_s += self.preempt(victim)
                preempted = True
        return copies_s, preempted

    def lacks(self, held: Held) -> bool:
        blocks = held.private + len(held.shared) * (HASHED // BLOCK_TOKENS)
        return blocks * BLOCK_TOKENS < held.context

    def preempt(self, held: Held) -> float:
        self.preemptions += 1
        self.running.remove(held)
        blocks = held.private + len(held.shared) * (HASHED // BLOCK_TOKENS)
        used = sum(-(-(other.context - 1) // BLOCK_TOKENS) for other in self.swapped if not other.received)
        # What it got in this very boundary goes with it: only what it needs for the KV that it has is copied.
        blocks = min(blocks, -(-(held.context - 1) // BLOCK_TOKENS))
        self.let_go(held)
        if self.kv.preemption is Preemption.SWAP and held.decoding and used + blocks <= self.host_total:
            self.swapped = sorted([*self.swapped, held], key=lambda held: held.job.job_id)
            return blocks * BLOCK_TOKENS * KV_BYTES / self.kv.swap_bytes_per_s
        held.decoding, held.done, held.goal = False, 0, held.context
        self.line = sorted([*self.line, held], key=lambda held: held.job.job_id)
        return 0.0

    def admit(self) -> float:
        copies_s = 0.0
        room = self.curve.chunk_tokens - sum(h.goal - h.done for h in self.running if not h.decoding)
        while (self.swapped or self.line) and len(self.running) < self.curve.max_batch:
            margin = self.watermark if self.running else 0
            if self.swapped:
                held = self.swapped[0]
                grows = self.kv.policy is KvPolicy.GROW
                blocks = -(-held.context // BLOCK_TOKENS) if grows else self.reserve(held)
                if blocks + margin > self.free():
                    break
                self.swapped.pop(0)
                self.running.append(held)
                held.private = blocks
                self.trim()
                if not held.received:
                    copied = -(-(held.context - 1) // BLOCK_TOKENS)
                    copies_s += copied * BLOCK_TOKENS * KV_BYTES / self.kv.swap_bytes_per_s
                held.received = False
                continue
            held, per = self.line[0], HASHED // BLOCK_TOKENS
            run = self.found(held)
            elsewhere = self.held_by_others(held)
            need = self.reserve(held) - per * sum(block in elsewhere for block in run)
            if need + margin > self.free() or room <= 0:
                break
            self.line.pop(0)
            self.running.append(held)
            for block in run:
                self.idle.pop(block, None)
            held.shared = list(run)
            for block in self.hashes(held)[len(run) :]:
                if block not in elsewhere and block not in self.idle:
                    held.shared.append(block)
                    self.trim()
            held.private = self.reserve(held) - per * len(held.shared)
            self.trim()
            held.done = len(run) * HASHED
            self.cached.setdefault(held.job.job_id, held.done)
            room -= held.goal - held.done
        return copies_s

    def held_back(self) -> int:
        """Who would run if the chunk had room for all: first in line, with a slot, and blocks of its own."""
        count, free = 0, self.free() - self.watermark
        while not self.swapped and count < len(self.line) and len(self.running) + count < self.curve.max_batch:
            free -= self.reserve(self.line[count])
            if free < 0:
                break
            count += 1
        return count

    def step(self, now_s: float, jobs: int) -> float:
        curve, room = self.curve, self.curve.chunk_tokens
        decoding = [held for held in self.running if held.decoding]
        now_s += curve.step_s[len(decoding)] + curve.kv_s_per_token * sum(held.context for held in decoding)
        completed = []
        for held in [held for held in self.running if not held.decoding]:
            chunk = min(room, held.goal - held.done)
            now_s += self.tokens_s(held.done + chunk) - self.tokens_s(held.done)
            held.done += chunk
            room -= chunk
            if held.done == held.goal:
                now_s += curve.prefill_fixed_s
                completed.append(held)
        finished = []
        for held in decoding + completed:
            held.decoding = True
            held.tokens += 1
            lag_s = self.lag_s.setdefault(held.job.job_id, curve.overhead_s(held.job.input_tokens, jobs))
            self.tokens[held.job.job_id].append(now_s + lag_s)
            if held.tokens == held.job.output_tokens:
                self.running.remove(held)
                finished.append(held)
        for held in sorted(finished, key=lambda held: held.job.job_id):
            self.let_go(held)
        return now_s

    def tokens_s(self, tokens: int) -> float:
        return tokens * (self.curve.prefill_s_per_token + self.curve.prefill_s_per_token_squared * tokens)


@st.composite
def script_lists(draw: st.DrawFn) -> list[Script]:
    scripts, now_s = [], 0.0
    heads = draw(st.lists(st.lists(st.integers(0, 15), max_size=12), min_size=1, max_size=3))
    for job_id in range(1, draw(st.integers(1, 14)) + 1):
        now_s += TICK_S * draw(st.integers(0, 40))
        input_tokens = draw(st.integers(1, 500))
        head = [hash((i, *draw(st.sampled_from(heads))[: i + 1])) for i in range(draw(st.integers(0, 12)))]
        own = [1000 * job_id + i for i in range(-(-input_tokens // HASHED))]
        prefix = tuple((head + own[len(head) :])[: -(-input_tokens // HASHED)])
        job = Job(job_id, input_tokens, draw(st.integers(1, 150)), prefix, HASHED)
        later = draw(st.none() | st.integers(1, 120))
        scripts.append(Script(job, now_s, None if later is None else now_s + 1.00931 * TICK_S * later))
    return scripts
