"""What serving costs: the marginal cost of a request, what it uses of a pool, capacity on its terms, and the total."""

from headrace.cost.marginal import MarginalCost, capacity_cost_usd, marginal_cost, request_cost_usd, token_cost
from headrace.cost.tco import Line, Quantities, Tco, tco
from headrace.cost.terms import (
    HourlyCost,
    Unit,
    capacity_years,
    capital_recovery_factor,
    contract_usd_per_hour,
    hourly_cost,
    live_w,
    meter_w,
    unit_of,
)
from headrace.cost.use import energy_rate, period_rates, replica_rate, share_rates, spend_rate

__all__ = [
    "HourlyCost",
    "Line",
    "MarginalCost",
    "Quantities",
    "Tco",
    "Unit",
    "capacity_cost_usd",
    "capacity_years",
    "capital_recovery_factor",
    "contract_usd_per_hour",
    "energy_rate",
    "hourly_cost",
    "live_w",
    "marginal_cost",
    "meter_w",
    "period_rates",
    "replica_rate",
    "request_cost_usd",
    "share_rates",
    "spend_rate",
    "tco",
    "token_cost",
    "unit_of",
]
