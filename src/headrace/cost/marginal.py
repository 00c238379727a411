"""Marginal cost: the money that one more request really adds on a pool, and what its capacity costs besides.

Under per-token terms a request adds its list price. Under hourly terms the hours are paid in any case: what a request
adds is the energy of the seconds that it takes of a busy replica.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.errors import ConfigError, Fault
from headrace.fleet import Hourly, PerToken, Pool
from headrace.perf import SpeedCurve
from headrace.units import SECONDS_PER_HOUR, energy_usd, usd_per_token


class MarginalCost(NamedTuple):
    """What one more token adds, in USD."""

    usd_per_input_token: float
    usd_per_cached_input_token: float
    usd_per_output_token: float


def marginal_cost(pool: Pool, curve: SpeedCurve) -> MarginalCost:
    """USD per token that a request adds on `pool`.

    Per token: `token_cost`.
    Hourly: power_w * pue * seconds per token * electricity price, with prefill_s_per_token for input and
    step_s[max_batch] / max_batch for output; cached input is not computed again and adds nothing. The fixed part of a
    prefill (`prefill_fixed_s`, Neuron with experts) is per request and not in it.

    Args:
        pool: its price terms hold.
        curve: speed of one replica of the pool's deployment.

    Raises:
        ConfigError: hourly terms on a deployment of unknown power; that would be free by mistake.
    """
    price = pool.price
    if isinstance(price, PerToken):
        return token_cost(price)
    if price.electricity_usd_per_kwh == 0.0:  # rented with its power: a request adds nothing
        return MarginalCost(0.0, 0.0, 0.0)
    power_w = _power_w(pool, curve) * price.pue
    decode_s = curve.step_s[curve.max_batch] / curve.max_batch
    return MarginalCost(
        energy_usd(power_w, curve.prefill_s_per_token, price.electricity_usd_per_kwh),
        0.0,
        energy_usd(power_w, decode_s, price.electricity_usd_per_kwh),
    )


def token_cost(price: PerToken) -> MarginalCost:
    """List prices; without a cached price, cached input costs as much as other input."""
    cached = price.cached_input_usd_per_mtok
    return MarginalCost(
        usd_per_token(price.input_usd_per_mtok),
        usd_per_token(price.input_usd_per_mtok if cached is None else cached),
        usd_per_token(price.output_usd_per_mtok),
    )


def request_cost_usd(
    cost: MarginalCost, input_tokens: float, output_tokens: float, cached_input_tokens: float = 0.0
) -> float:
    """USD that a request of this size adds; `cached_input_tokens` is a part of `input_tokens`."""
    usd_per_input_token, usd_per_cached_input_token, usd_per_output_token = cost
    fresh = input_tokens - cached_input_tokens
    return (
        fresh * usd_per_input_token
        + cached_input_tokens * usd_per_cached_input_token
        + output_tokens * usd_per_output_token
    )


def capacity_cost_usd(pool: Pool, replica_s: float) -> float:
    """USD that `replica_s` seconds of the pool's replicas cost, used or not; 0 under per-token terms.

    Hourly: usd_per_accelerator_hour * accelerators of a replica * hours of replicas.
    """
    if not isinstance(pool.price, Hourly):
        return 0.0
    return pool.price.usd_per_accelerator_hour * pool.deployment.count * replica_s / SECONDS_PER_HOUR


def _power_w(pool: Pool, curve: SpeedCurve) -> float:
    if curve.power_w is None:
        raise ConfigError(
            f"pool {pool.name}",
            [
                Fault(
                    f"pools.{pool.name}.price.type",
                    "hourly charges energy, and the power of this deployment is unknown; "
                    "declare [accelerators.NAME] with tdp_w, or set electricity_usd_per_kwh = 0 where the hour "
                    "includes it",
                )
            ],
        )
    return curve.power_w
