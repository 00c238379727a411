"""Chaos: what a gateway does when its backends do what backends do, judged by what its clients see.

Every backend of a fleet is emulated, the production gateway stands in front, and something breaks. A strict client
asks, and a judge that knows nothing of the gateway compares what came with what should have come (`scenario`).
"""

from headrace.study.chaos.catalogue import SCENARIOS
from headrace.study.chaos.run import Verdict, run_scenario, run_scenarios
from headrace.study.chaos.scenario import End, Place, Scenario

__all__ = ["SCENARIOS", "End", "Place", "Scenario", "Verdict", "run_scenario", "run_scenarios"]
