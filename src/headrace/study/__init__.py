"""Studies: what joins the simulator, the planner and the gateway."""

from headrace.study.compare import load_simulated_policy, run_facts, simulate_and_compare
from headrace.study.up import UpSettings, UpSystem, running_system

__all__ = ["UpSettings", "UpSystem", "load_simulated_policy", "run_facts", "running_system", "simulate_and_compare"]
