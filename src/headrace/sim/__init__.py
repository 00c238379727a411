"""The simulator: the production policy engine over model servers, in virtual time."""

from headrace.sim.driver import SimulatedBackend, SimulationDriver
from headrace.sim.faults import FaultTimeline
from headrace.sim.kernel import Kernel
from headrace.sim.oracle import OraclePredictor
from headrace.sim.run import ORACLE, SimulationResult, eligible_pools, simulate
from headrace.sim.signals import SignalFeed
from headrace.sim.workers import Workers

__all__ = [
    "ORACLE",
    "FaultTimeline",
    "Kernel",
    "OraclePredictor",
    "SignalFeed",
    "SimulatedBackend",
    "SimulationDriver",
    "SimulationResult",
    "Workers",
    "eligible_pools",
    "simulate",
]
