"""What traffic is: requests, sessions, workload classes with their SLOs, and generators of arrivals."""

from headrace.workload.arrivals import ArrivalProcess, OnOffGaps, Poisson, WanderingPoisson
from headrace.workload.generate import (
    AGENT,
    CHAT,
    CODING,
    AgentSessions,
    ClassTraffic,
    SingleRequests,
    Traffic,
    generate,
)
from headrace.workload.lengths import LogNormal, LogNormalMixture
from headrace.workload.request import Prefix, Request, Turn
from headrace.workload.sessions import ClosedLoop, EndedTask, TurnGate
from headrace.workload.workload_class import Match, Slo, WorkloadClass

__all__ = [
    "AGENT",
    "CHAT",
    "CODING",
    "AgentSessions",
    "ArrivalProcess",
    "ClassTraffic",
    "ClosedLoop",
    "EndedTask",
    "LogNormal",
    "LogNormalMixture",
    "Match",
    "OnOffGaps",
    "Poisson",
    "Prefix",
    "Request",
    "SingleRequests",
    "Slo",
    "Traffic",
    "Turn",
    "TurnGate",
    "WanderingPoisson",
    "WorkloadClass",
    "generate",
]
