"""Health: what a load balancer and an orchestrator ask, kept apart from what operators want to see.

Live: this process answers; only if it does not should it be started again. Ready: this *gateway* can take requests: it
listens, does not drain, and can put attempts on record. Backends have no say in it: if they are down, sending clients
to another copy of this gateway helps nobody, and one dead vendor would take every copy out at once. Their states are in
the body, for people.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.policy import BackendView

LIVE = b'{"status":"ok"}'


def readiness(draining: bool, ledger_fault: str, workers_up: int, backends: Iterable[BackendView]) -> tuple[int, bytes]:
    """Status and body of `/health/ready`."""
    why = "draining" if draining else f"the usage ledger cannot be written: {ledger_fault}" if ledger_fault else ""
    body = {
        "status": why or "ready",
        "ready": not why,
        "workers_up": workers_up,
        "backends": {each.name: "drained" if each.drained else each.breaker for each in backends},
    }
    return 503 if why else 200, msgspec.json.encode(body)
