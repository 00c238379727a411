"""What is minimised: money over the horizon, and the value of the time that users wait."""

from __future__ import annotations

import numpy as np

from headrace.plan.amounts import paid_for_missing
from headrace.plan.rows import total
from headrace.plan.variables import Model


def minimise_cost(model: Model) -> None:
    """Set the objective.

    sum over n of usd[n] * units[n] + sum over r, p of requests[j, p] * (usd[r] + waiting_usd[r]) * part[r, p]
    + sum over k of (fee[k] * signed[k] + what is charged for missing[k, p] + sum over s of shortfall[k, s])
    """
    tables, problem, usd = model.tables, model.problem, 1.0 / model.money_usd
    per_request = (tables.usd + tables.waiting_usd)[:, None] * tables.route_requests()
    fees = np.array([contract.fee_usd for contract in problem.contracts])
    cost = total(model.part, per_request * usd) + total(model.units, tables.slot_usd * usd)
    cost = cost + total(model.signed, fees * usd) + total(model.shortfall)
    for number in range(len(problem.contracts)):
        cost = cost + paid_for_missing(model, number, range(len(problem.stages)))
    model.cost = cost
