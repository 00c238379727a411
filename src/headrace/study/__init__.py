"""Studies: what joins the simulator, the planner and the gateway."""

from headrace.study.compare import run_facts, simulate_and_compare

__all__ = ["run_facts", "simulate_and_compare"]
