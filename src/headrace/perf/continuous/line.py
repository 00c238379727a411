"""The closed form as the few numbers of a speed curve: what model servers, the emulator and prices serve by.

**Step.** Of B sequences that hold K context tokens together a step takes max4(W + b K, A + a K) + rest, where W and A
are the weight reads and the arithmetic of the batch, b and a KV reads and attention for one context token. A curve is
a straight line in K:

    step_s[B] = step of B sequences with no context but full sliding windows
    kv_s_per_token = max4(b, a)

With speculation both are those of a pass and its drafts, divided by the tokens that it yields (see `step`).

max4 is a norm, so by the triangle inequality the line is never below the law: no server is faster than the law allows.
It lies above by the more, the less the two pairs point the same way: at most 2^(3/4) - 1 = 68 %, were a batch bound
by weight reads alone and its context by attention alone. Over the catalog (every model on every chip, batch up to 256,
context up to the KV room) it is 23 % at worst, for a dense model on a chip with little arithmetic, and below 2 % for 99
of 100. Where contexts are shorter than a sliding window the line has the whole window: up to five times the law, for
256 sequences without any context of a model with windows in most layers.

**Prompt.** What a prompt takes of a busy replica is `overlap` times its occupancy: the rest is hidden by decode. It has
a part per token and one per token squared; the step that carries it is paid for already.

**First token.** What is left of the time to first token of a lone client occupies nobody: front end, launches, work
that decode would have hidden. It delays what the client sees, in part by the prompt's length and in part by how many
are there. The line through two prompts, `SHORT` and `LONG` tokens, is exact for both; from 100 to 30,000 tokens it is
at most 31 % above (the longest prompts) and 24 % below (the shortest) for three models on every chip that was measured.

The factors on TPOT and TTFT that are fitted for this model on this chip and software are in all of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headrace.fleet import Deployment
from headrace.perf.continuous.estimate import estimate_of
from headrace.perf.continuous.parameters import fitted, keys_of, levels_of, theta_of
from headrace.perf.continuous.points import Array, Load, Points, points_of
from headrace.perf.continuous.prompt import CHUNK_TOKENS, alone_s, occupancy_s
from headrace.perf.continuous.step import (
    Theta,
    arithmetic_s,
    cache_s,
    host_s,
    layers_s,
    reduce_s,
    rounded_max,
    spread,
    token_s,
)
from headrace.perf.estimate import Estimate

SHORT, LONG = 1024.0, CHUNK_TOKENS  # prompts whose time to first token is exact


class Line(NamedTuple):
    """A deployment as straight lines; the names are those of `SpeedCurve`."""

    step_s: tuple[float, ...]
    kv_s_per_token: float
    prefill_s_per_token: float
    prefill_s_per_token_squared: float
    ttft_overhead_s: float
    ttft_overhead_s_per_token: float
    ttft_overhead_s_per_sequence: float


class _Asked(NamedTuple):
    """One deployment at many points, with its parameters and the factors on both outputs."""

    points: Points
    theta: Theta
    tpot: float
    ttft: float


def line_of(deployment: Deployment) -> Line:
    """The closed form of one replica, condensed.

    Raises:
        ModelRangeError: a figure of the chip or of the model is not known.
    """
    one = _asked(deployment, np.array([SHORT]))
    steps = _steps_s(deployment)
    linear, squared = _prompt_parts(deployment)
    fixed, per_token = _overhead_parts(deployment, steps[0], linear, squared)
    per_sequence = one.ttft * float(one.theta["ttft_client_s"][0])
    return Line(steps, _kv_s_per_token(one), linear, squared, fixed, per_token, per_sequence)


def decode_estimate(deployment: Deployment, batch: int, context_tokens: float) -> Estimate:
    """Time per token of `batch` sequences of `context_tokens` each, no prefill in it: the law itself, no line."""
    asked = _asked(deployment, np.array([float(context_tokens)]))
    value = asked.tpot * token_s(asked.points, asked.theta, np.array([float(batch)]))
    return estimate_of(deployment, "tpot", float(value[0]), asked.points, asked.theta, float(batch))


def prompt_estimate(deployment: Deployment, input_tokens: int) -> Estimate:
    """What a prompt adds to the steps of others."""
    linear, squared = _prompt_parts(deployment)
    asked = _asked(deployment, np.array([SHORT]))
    value = input_tokens * (linear + squared * input_tokens)
    return estimate_of(deployment, "ttft", value, asked.points, asked.theta, 1.0)


def _asked(deployment: Deployment, context_tokens: Array) -> _Asked:
    theta, outputs = theta_of(levels_of([keys_of(deployment, split=False)]), fitted())
    count = len(context_tokens)
    points = points_of([(deployment, Load(1, 1), None)]).take(np.zeros(count, dtype=np.intp))
    points.input_tokens, points.output_tokens = context_tokens, np.zeros(count)
    repeated = {name: np.repeat(value, count) for name, value in theta.items()}
    return _Asked(points, repeated, float(outputs["tpot"][0]), float(outputs["ttft"][0]))


def _steps_s(deployment: Deployment) -> tuple[float, ...]:
    """Of every batch up to the largest; the first, without a sequence, has latencies only."""
    batches = np.arange(1.0, deployment.max_batch + 1.0)
    points, theta, tpot, _ = _asked(deployment, np.zeros(deployment.max_batch))
    windows = replace(
        points,
        input_tokens=points.window_tokens,
        kv_bytes_token=np.zeros_like(batches),
        decode_width=np.zeros_like(batches),
    )
    steps = tpot * token_s(windows, theta, batches)
    nothing = np.zeros_like(batches)
    empty = layers_s(points, theta, nothing) + reduce_s(points, theta, nothing, points.width) + host_s(theta, nothing)
    return (tpot * float(empty[0]), *steps.tolist())


def _kv_s_per_token(asked: _Asked) -> float:
    points, theta, tpot, _ = asked
    none, one = np.zeros(1), np.ones(1)
    token = replace(points, input_tokens=one, window_bytes=none, state_bytes=none, active_parameters=none)
    read = cache_s(token, theta, one)
    checking = rounded_max(read, arithmetic_s(token, theta, points.checked))
    drafting = points.draft_steps * rounded_max(read, arithmetic_s(token, theta, one))
    return tpot * float(((checking + drafting) * spread(points, theta) / points.per_pass)[0])


def _prompt_parts(deployment: Deployment) -> tuple[float, float]:
    """Seconds per token and per token squared that a prompt adds: exact at `LONG` and at twice as many tokens."""
    points, theta, tpot, _ = _asked(deployment, np.array([LONG, 2.0 * LONG]))
    seconds = tpot * theta["overlap"] * occupancy_s(points, theta, points.count, points.width)
    squared = max(0.0, float(seconds[1] - 2.0 * seconds[0]) / (2.0 * LONG**2))
    return float(seconds[0]) / LONG - squared * LONG, squared


def _overhead_parts(deployment: Deployment, step_s: float, linear: float, squared: float) -> tuple[float, float]:
    """Fixed seconds and seconds per token by which a lone client sees its first token later than the replica has it."""
    tokens = np.array([SHORT, LONG])
    p, t, _, factor = _asked(deployment, tokens)
    ranks = np.where(p.ranks > 1, t["ttft_ranks_s"], 0.0)
    seen = factor * (t["ttft_s"] + ranks + t["ttft_token_s"] * tokens + alone_s(p, t, p.count, p.ranks))
    rest = np.maximum(0.0, seen - step_s - tokens * (linear + squared * tokens))
    per_token = max(0.0, float(rest[1] - rest[0]) / (LONG - SHORT))
    return max(0.0, float(rest[0]) - per_token * SHORT), per_token
