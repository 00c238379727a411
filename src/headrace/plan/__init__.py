"""The planner. So far: hindsight, the bound that every policy is measured against."""

from headrace.plan.hindsight import Hindsight

__all__ = ["Hindsight"]
