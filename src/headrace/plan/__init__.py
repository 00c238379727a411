"""The planner: from a problem to the plan of least cost; and hindsight, the bound for every policy.

`headrace.plan.solve` imports an optimisation library that takes a second; it is not imported from here.
"""

from headrace.plan.hindsight import Hindsight

__all__ = ["Hindsight"]
