"""What traffic is: requests, sessions, workload classes with their SLOs, and generators of arrivals."""

from headrace.workload.agents import AGENT_TASKS, AgentTasks
from headrace.workload.arrivals import ArrivalProcess, OnOffGaps, Poisson, WanderingPoisson
from headrace.workload.clients import CLIENTS, DEFAULT_CLIENTS, Mark
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
from headrace.workload.request import Prefix, Request, Turn, in_common
from headrace.workload.sessions import ClosedLoop, EndedTask, TurnGate
from headrace.workload.task import Item, Task, flatten
from headrace.workload.workload_class import Match, Slo, WorkloadClass

__all__ = [
    "AGENT",
    "AGENT_TASKS",
    "CHAT",
    "CLIENTS",
    "CODING",
    "DEFAULT_CLIENTS",
    "GENERATED",
    "AgentSessions",
    "AgentTasks",
    "ArrivalProcess",
    "ClassTraffic",
    "ClosedLoop",
    "EndedTask",
    "Item",
    "LogNormal",
    "LogNormalMixture",
    "Mark",
    "Match",
    "OnOffGaps",
    "Poisson",
    "Prefix",
    "Request",
    "SingleRequests",
    "Slo",
    "Task",
    "Traffic",
    "Turn",
    "TurnGate",
    "WanderingPoisson",
    "WorkloadClass",
    "flatten",
    "generate",
    "generate_named",
    "in_common",
]
