"""What traffic is: requests, workload classes with their SLOs, and generators of arrivals."""

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
from headrace.workload.named import GENERATED, generate_named
from headrace.workload.request import Request
from headrace.workload.workload_class import Match, Slo, WorkloadClass

__all__ = [
    "AGENT",
    "CHAT",
    "CODING",
    "GENERATED",
    "AgentSessions",
    "ArrivalProcess",
    "ClassTraffic",
    "LogNormal",
    "LogNormalMixture",
    "Match",
    "OnOffGaps",
    "Poisson",
    "Request",
    "SingleRequests",
    "Slo",
    "Traffic",
    "WanderingPoisson",
    "WorkloadClass",
    "generate",
    "generate_named",
]
