"""What the usage ledger costs, by when it is forced to the disk.

Rounds of a busy gateway, as many requests in each: dispatches, `flush`, ends, `flush`. Measured is the time of a round,
policies in turn within one run, medians over interleaved repeats, as a ratio to `never`; and how long `always` has a
round wait for the disk. What it does not show: a disk that others use at the same time.

python benchmarks/ledger.py [FOLDER]   on the disk of FOLDER; default: here
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from headrace.fleet import Fsync, LedgerSettings
from headrace.ledger import UsageLedger

ROUNDS = 200
REPEATS = 9
SIZES = (1, 8, 64)


def seconds_per_round(folder: Path, policy: Fsync, requests: int) -> float:
    with UsageLedger(folder / f"{policy}.jsonl", LedgerSettings(fsync=policy, fsync_interval_s=0.1)) as ledger:
        ledger.defer(lambda: None)
        begun_s = time.perf_counter()
        for first in range(0, ROUNDS * requests, requests):
            numbers = range(first, first + requests)
            for number in numbers:
                ledger.opened(
                    number, number, "b", "chat", 1.5, input_tokens=250, reserved_output_tokens=500, api="chat"
                )
            ledger.flush()
            for number in numbers:
                ledger.closed(number, "completed", 2.5, input_tokens=250, output_tokens=80, cached_input_tokens=0)
            ledger.flush()
        return (time.perf_counter() - begun_s) / (2 * ROUNDS)


def main(folder: str = ".") -> None:
    print(f"{'records/round':>13} " + " ".join(f"{policy:>22}" for policy in Fsync))
    for requests in SIZES:
        found: dict[Fsync, list[float]] = {policy: [] for policy in Fsync}
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory(dir=folder) as work:
                for policy, times in found.items():
                    times.append(seconds_per_round(Path(work), policy, requests))
        usual = statistics.median(found[Fsync.NEVER])
        cells = [f"{1e6 * (m := statistics.median(times)):9.0f} us = {m / usual:6.1f}x" for times in found.values()]
        print(f"{requests:>13} " + " ".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main(*sys.argv[1:])
