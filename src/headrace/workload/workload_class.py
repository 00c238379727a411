"""Workload classes: traffic with one model need, one SLO and one value of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """Per-request thresholds and the fraction of requests that must meet them all.

    Attributes:
        ttft_s: time to first token, at most; None means no threshold.
        tpot_s: time per output token, at most; None means no threshold. Undefined below two output tokens: then met.
        attainment: fraction of the arrived requests that must meet every threshold.
        priced: whether the policy keeps the attainment by a price.
        starting_price_usd: what that price starts from, in USD per miss; at least 0.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    attainment: float = 0.95
    priced: bool = False
    starting_price_usd: float = 0.0

    def met(self, ttft_s: float, tpot_s: float | None) -> bool:
        """Whether a finished request with these latencies met every threshold."""
        if self.ttft_s is not None and ttft_s > self.ttft_s:
            return False
        return self.tpot_s is None or tpot_s is None or tpot_s <= self.tpot_s


@dataclass(frozen=True, slots=True)
class Match:
    """How a request is recognised as one of a class; any rule that matches is enough.

    Attributes:
        headers: (lower-case name, value) pairs.
        api_key_envs: environment variables that hold API keys of this class.
        paths: endpoint paths.
        clients: names of clients that give themselves away (`workload.clients`).
        model_aliases: model names that clients may use; an alias also selects the class.
    """

    headers: tuple[tuple[str, str], ...] = ()
    api_key_envs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    model_aliases: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadClass:
    """Traffic with one model need, SLO and value of time.

    Attributes:
        value_of_time_usd_per_s: what a second of waiting costs the user or agent behind the request.
        timeout_s: a request that has not ended by then counts at this latency; no retry is begun that would end later.
        ttft_timeout_s: a streamed attempt with no first token by then has failed; None: as the gateway's limits say.
        expected_output_tokens: what length prediction starts from, before anything has finished.
    """

    name: str
    value_of_time_usd_per_s: float
    slo: Slo = Slo()
    match: Match = Match()
    timeout_s: float = 600.0
    expected_output_tokens: float = 256.0
    ttft_timeout_s: float | None = None
