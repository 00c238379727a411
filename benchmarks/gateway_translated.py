"""What a translated stream costs the whole gateway, per token, beside the same stream passed on as it is.

    python benchmarks/gateway_translated.py [--rounds 3] [--seconds 3]

One gateway, whose backends speak chat alone, and clients of three APIs in turn: chat passes, Responses and Messages are
translated. CPU time is that of the gateway's process, from /proc, at 16 streams of 2,000 tokens/s; the median over the
rounds. What it does not show: anything but loopback, or another mix.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gateway import HERE, cpu_s, free_ports, wait_for

APIS = ("chat", "responses", "messages")
TARGET_US = 12.0
Process = subprocess.Popen[Any]


def started(
    processes: list[subprocess.Popen[Any]], script: str, *arguments: object, port: int
) -> subprocess.Popen[Any]:
    process = subprocess.Popen([sys.executable, str(HERE / script), *map(str, arguments)])
    processes.append(process)
    wait_for(port, process)
    return process


def asked(load: subprocess.Popen[str], port: int, api: str, seconds: float) -> dict[str, Any]:
    command = {"kind": "throughput", "port": port, "connections": 16, "seconds": seconds, "body_bytes": 1000}
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(json.dumps(command | {"tokens": 1000, "api": api}) + "\n")
    load.stdin.flush()
    return dict(json.loads(load.stdout.readline()))


def measured(folder: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    backend, own = free_ports(2)
    processes: list[Process] = []
    try:
        started(processes, "gateway_mock.py", backend, 2000.0, port=backend)
        gateway = started(processes, "gateway_under_test.py", own, backend, folder / "ledger", "cerebras", port=own)
        command = [sys.executable, str(HERE / "gateway_load.py")]
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(load)
        found: dict[str, list[float]] = {api: [] for api in APIS}
        for number in range(rounds + 1):
            for api in APIS:
                before = cpu_s(gateway.pid)
                answer = asked(load, own, api, seconds if number else 0.3)
                if number:  # the first round warms up
                    found[api].append((cpu_s(gateway.pid) - before) / answer["tokens"] * 1e6)
        return found
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        found = measured(Path(folder), options.rounds, options.seconds)
    medians = {api: statistics.median(values) for api, values in found.items()}
    rows = {
        api: {
            "us_per_token": round(medians[api], 2),
            "range": [round(min(values), 2), round(max(values), 2)],
            "ratio_to_splice": round(medians[api] / medians["chat"], 2),
        }
        for api, values in found.items()
    }
    print(json.dumps({"rounds": options.rounds, "target_us": TARGET_US, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
