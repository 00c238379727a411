"""What serving costs: the marginal cost of a request, what it uses of a pool, and the cost of capacity."""

from headrace.cost.marginal import MarginalCost, capacity_cost_usd, marginal_cost, request_cost_usd
from headrace.cost.use import energy_rate, period_rates, replica_rate, share_rates, spend_rate

__all__ = [
    "MarginalCost",
    "capacity_cost_usd",
    "energy_rate",
    "marginal_cost",
    "period_rates",
    "replica_rate",
    "request_cost_usd",
    "share_rates",
    "spend_rate",
]
