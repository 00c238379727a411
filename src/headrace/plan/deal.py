"""The arithmetic of a contract for SRAM silicon: systems per megawatt, sessions per system, dollars per token.

Four lines decide what such a contract is worth, and they are worth having apart from any optimisation:

    systems   = power / (power of a system * overhead)
    $/h       = price / megawatt-years of its tranches / 8,760 * megawatts of a system   (`cost.contract_usd_per_hour`)
    sessions  = floor((systems of a replica * SRAM - weights) / (KV bytes per token * context))
    tokens/s  = sessions * tokens/s of one session

The last is an upper bound: a user's speed falls with load. On SRAM capacity is KV bytes, not arithmetic, so context
decides: twelve times the sessions at 8k tokens of what there are at 96k.

`Sizing` takes its figures as they are given, so that anybody's arithmetic can be done again; `predicted_sizing` takes
them from the speed model. The two differ, and for reasons: the model keeps a part of the memory for activations, a
checkpoint weighs what it weighs, and layers with a sliding window hold their window and no more, which is half of the
KV of gpt-oss-120b.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from headrace.fleet import Deployment
from headrace.perf import decode_step_s, kv_token_bytes, memory_fit, weight_bytes
from headrace.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK


@dataclass(frozen=True, slots=True)
class Sizing:
    """One model on so many SRAM systems.

    Attributes:
        systems: of one replica.
        memory_bytes: of one system, that hold weights and KV.
        context_tokens: that each session holds.
        tokens_per_s: of one session, alone.
    """

    systems: int
    memory_bytes: float
    weight_bytes: float
    kv_bytes_per_token: float
    context_tokens: float
    tokens_per_s: float

    @property
    def sessions(self) -> int:
        """Sessions that one replica holds."""
        room = self.systems * self.memory_bytes - self.weight_bytes
        return floor(room / (self.kv_bytes_per_token * self.context_tokens))

    @property
    def sessions_per_system(self) -> float:
        """The same of one system."""
        return self.sessions / self.systems

    @property
    def tokens_per_s_per_system(self) -> float:
        """Output tokens/s of one system with all its sessions at full speed: an upper bound."""
        return self.sessions * self.tokens_per_s / self.systems

    def usd_per_mtok(self, usd_per_system_hour: float, utilization: float) -> float:
        """USD per million output tokens at a part `utilization` of that bound."""
        tokens_per_h = self.tokens_per_s_per_system * utilization * SECONDS_PER_HOUR
        return usd_per_system_hour / (tokens_per_h / TOKENS_PER_MTOK)


@dataclass(frozen=True, slots=True)
class SramFleet:
    """What a power budget holds of one sizing, in whole replicas."""

    replicas: int
    sessions: int
    tokens_per_s: float


def systems_of_power(power_w: float, system_w: float, overhead: float) -> float:
    """Systems that `power_w` at the meter feeds; not whole, for the last one may be had elsewhere."""
    return power_w / (system_w * overhead)


def sram_fleet(sizing: Sizing, systems: float) -> SramFleet:
    """So many systems in whole replicas, with all their sessions at full speed."""
    replicas = floor(floor(systems) / sizing.systems)
    sessions = replicas * sizing.sessions
    return SramFleet(replicas, sessions, sessions * sizing.tokens_per_s)


def output_rate(tokens_per_s: float, input_per_output: float) -> float:
    """The output part of a rate that counts input and output, at so many input tokens for each output token."""
    return tokens_per_s / (1.0 + input_per_output)


def decode_power_w(output_tokens_per_s: float, sizing: Sizing, utilization: float, system_w: float) -> float:
    """Power at the meter of the systems that decode so many tokens/s; `system_w` has its overhead in it."""
    return output_tokens_per_s / (sizing.tokens_per_s_per_system * utilization) * system_w


def predicted_sizing(deployment: Deployment, context_tokens: int) -> Sizing:
    """The same by the speed model: its weights, its KV bytes, its part of memory for KV, its speed for one user.

    Raises:
        ModelRangeError: the speed of the deployment is not known, or `context_tokens` exceed the model's context.
    """
    fit, weights = memory_fit(deployment), weight_bytes(deployment)
    per_token = kv_token_bytes(deployment)
    held = fit.kv_capacity_tokens * per_token + weights
    token_s = decode_step_s(deployment, 1, context_tokens).value
    systems = deployment.count
    return Sizing(systems, held / systems, weights, per_token, context_tokens, 1.0 / token_s)
