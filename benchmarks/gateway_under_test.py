"""The gateway as the benchmark runs it: one worker, 8 backends, full policy, share control, metrics and ledger on.

python gateway_under_test.py PORT BACKEND_PORT LEDGER [DIALECT [WATCHED]]

WATCHED, as JSON: `telemetry`, settings of the table of that name; `admin_port`; `keys`, a key file, of which clients
then need a key.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from random import Random

import uvloop

from headrace.fleet import (
    Backend,
    Deployment,
    Fleet,
    Model,
    OperatingPoint,
    PerToken,
    Pool,
    Route,
    Share,
    ShareUnit,
    TelemetrySettings,
    Tenants,
)
from headrace.gateway import open_entrance, start_gateway
from headrace.ledger import UsageLedger
from headrace.policy import PolicyEngine
from headrace.workload import WorkloadClass

BACKENDS = 8
FAST = 2


def bench_fleet(backend_port: int, dialect: str) -> Fleet:
    model = Model(**dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "bench"})  # type: ignore[arg-type]
    slow = OperatingPoint(ttft_s=0.25, input_tokens_per_s=15_000.0, tpot_s=0.0154, batch=32)
    quick = OperatingPoint(ttft_s=0.2, input_tokens_per_s=10_000.0, tpot_s=0.001)
    pools = {}
    deployments = {}
    for index in range(BACKENDS):
        fast = index >= BACKENDS - FAST
        name = f"{'fast' if fast else 'gpu'}-{index}"
        deployments[name] = Deployment(name, model, observed=quick if fast else slow)
        price = PerToken(0.35, 0.75) if fast else PerToken(0.09, 0.36)
        backend = Backend(name, name, f"http://127.0.0.1:{backend_port}", max_in_flight=256, dialect=dialect)
        pools[name] = Pool(name, deployments[name], price, (backend,))
    fast_pools = tuple(name for name in pools if name.startswith("fast"))
    share = Share("fast", fast_pools, 0.1, ShareUnit.COMPUTE, reference=deployments["gpu-0"])
    classes = {
        "coding": WorkloadClass("coding", 0.002),
        "chat": WorkloadClass("chat", 0.0003),
    }
    return Fleet(
        models={"bench": model},
        deployments=deployments,
        pools=pools,
        classes=classes,
        shares={"fast": share},
        routes=(Route(pools=tuple(pools)),),
        default_class="chat",
    )


async def main(
    port: int, backend_port: int, ledger_path: str, dialect: str = "openai-compatible", watched: str = "{}"
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    said = json.loads(watched)
    telemetry, tenants = TelemetrySettings(**said.get("telemetry", {})), Tenants(keys=said.get("keys"))
    fleet = replace(bench_fleet(backend_port, dialect), telemetry=telemetry, tenants=tenants)
    engine = PolicyEngine(fleet, Random(1))
    with UsageLedger(ledger_path) as ledger:
        running = await start_gateway(
            fleet, engine, ledger, port=port, admin_port=said.get("admin_port", 0), entrance=open_entrance(fleet)
        )
        await stop.wait()
        await running.close(0.0)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
