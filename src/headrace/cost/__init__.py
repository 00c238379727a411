"""What serving costs: the marginal cost of a request, and the cost of capacity."""

from headrace.cost.marginal import MarginalCost, capacity_cost_usd, marginal_cost, request_cost_usd

__all__ = ["MarginalCost", "capacity_cost_usd", "marginal_cost", "request_cost_usd"]
