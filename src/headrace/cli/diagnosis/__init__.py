"""What is wrong with an installation: checks that each look at one thing and say what, where and what to do.

A check never stops at the first thing that it finds, never raises for what it finds, and changes nothing. How much a
finding matters is what happens if nobody minds it, and that alone decides the order in which findings are shown.
"""

from headrace.cli.diagnosis.backends import backend_findings
from headrace.cli.diagnosis.declared import aged_findings, credential_findings, fleet_findings, share_findings
from headrace.cli.diagnosis.finding import Finding, Severity
from headrace.cli.diagnosis.machine import clock_findings, file_limit_findings, installation_findings
from headrace.cli.diagnosis.services import ledger_findings, port_findings, service_findings

__all__ = [
    "Finding",
    "Severity",
    "aged_findings",
    "backend_findings",
    "clock_findings",
    "credential_findings",
    "file_limit_findings",
    "fleet_findings",
    "installation_findings",
    "ledger_findings",
    "port_findings",
    "service_findings",
    "share_findings",
]
