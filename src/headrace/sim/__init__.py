"""The simulator: the production policy engine over model servers, in virtual time."""

from headrace.sim.driver import SimulatedBackend, SimulationDriver
from headrace.sim.kernel import Kernel
from headrace.sim.oracle import OraclePredictor
from headrace.sim.run import ORACLE, SimulationResult, eligible_pools, simulate

__all__ = [
    "ORACLE",
    "Kernel",
    "OraclePredictor",
    "SimulatedBackend",
    "SimulationDriver",
    "SimulationResult",
    "eligible_pools",
    "simulate",
]
