"""The live gateway: an OpenAI-compatible front over the fleet, driven by the policy engine."""

from headrace.gateway.books import Journal, Ledger
from headrace.gateway.crew import Crew, Shown, Supervised
from headrace.gateway.driver import Engine, Gateway
from headrace.gateway.entrance import (
    LOOPBACK,
    Entrance,
    bind_faults,
    is_loopback,
    kept_faults,
    open_entrance,
    resume_accounts,
)
from headrace.gateway.front import ClientServer, Front
from headrace.gateway.onlooker import Onlooker
from headrace.gateway.periods import resumed_periods
from headrace.gateway.reload import FleetFile
from headrace.gateway.run import RunningGateway
from headrace.gateway.shelves import SharedShelf
from headrace.gateway.start import start_gateway

__all__ = [
    "LOOPBACK",
    "ClientServer",
    "Crew",
    "Engine",
    "Entrance",
    "FleetFile",
    "Front",
    "Gateway",
    "Journal",
    "Ledger",
    "Onlooker",
    "RunningGateway",
    "SharedShelf",
    "Shown",
    "Supervised",
    "bind_faults",
    "is_loopback",
    "kept_faults",
    "open_entrance",
    "resume_accounts",
    "resumed_periods",
    "start_gateway",
]
