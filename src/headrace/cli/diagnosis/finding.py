"""One finding."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """What happens if nobody minds it; in order of importance."""

    STOPS = "stops"  # the gateway does not start, or nothing is answered
    IMPAIRS = "impairs"  # it runs, and something of it does not work
    ADVICE = "advice"  # it works; something deserves a look


class Finding(NamedTuple):
    """What is wrong, where, and what to do."""

    severity: Severity
    where: str
    what: str
    remedy: str


def important_first(findings: list[Finding]) -> list[Finding]:
    """By severity; what matters alike, in the order in which it was found."""
    return sorted(findings, key=lambda each: list(Severity).index(each.severity))
