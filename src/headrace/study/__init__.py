"""Studies: what joins the simulator, the planner and the gateway."""

from headrace.study.compare import load_simulated_policy, run_facts, simulate_and_compare
from headrace.study.sampling import sample_notes, tail_note, waiting_probability
from headrace.study.up import UpSettings, UpSystem, running_system

__all__ = [
    "UpSettings",
    "UpSystem",
    "load_simulated_policy",
    "run_facts",
    "running_system",
    "sample_notes",
    "simulate_and_compare",
    "tail_note",
    "waiting_probability",
]
