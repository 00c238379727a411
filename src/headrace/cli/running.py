"""What the commands that run for a while have in common: being stopped, taken ports, results and how long it took."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Iterator
from pathlib import Path

from headrace.bench import ReplayResult
from headrace.cli.output import say, write_bytes, write_result
from headrace.cli.table import show_report
from headrace.errors import ConfigError, Fault
from headrace.metrics import Report, encode_report


def stopped_by_signals() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM; needs a running event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@contextlib.contextmanager
def ports_explained(where: str, remedy: str) -> Iterator[None]:
    """A port that cannot be had is the user's to solve: raises ConfigError for it, with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL) or error.filename is not None:
            raise
        raise ConfigError("listen", [Fault(where, f"{error.strerror or error}; {remedy}")]) from error


def show_result(report: Report, json: Path | None) -> None:
    """A report: as JSON where it was asked for, and as tables unless the JSON took their place."""
    if json is not None:
        write_bytes(json, encode_report(report))
    if json is None or str(json) != "-":
        show_report(report)


def write_timing(timing: Path | None, wall_s: float) -> None:
    """Write how long it took, if it was asked for."""
    write_result(timing, {"wall_s": wall_s})


def say_how_it_went(result: ReplayResult) -> None:
    """How late the load was sent, and what went wrong with it."""
    p50, p99, worst = result.lateness.quantile(0.5), result.lateness.quantile(0.99), result.worst_lateness_s
    if p50 is not None and p99 is not None and worst is not None:
        say(f"the load was sent late by p50 {p50 * 1000:.1f}, p99 {p99 * 1000:.1f}, at most {worst * 1000:.1f} ms")
    for error, count in sorted(result.errors.items()):
        say(f"{count} requests: {error}")
    if result.unattributed:
        say(f"{result.unattributed} answers named no backend of this fleet: they are in no pool and no share")
