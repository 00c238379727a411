"""What a gateway leans on: ports, the disk under its ledger, Redis, PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from headrace.cli.diagnosis.finding import Finding, Severity
from headrace.errors import ConfigError
from headrace.fleet import Fleet, Fsync
from headrace.ledger.postgres import database_url
from headrace.ledger.postgres import reach as reach_postgres
from headrace.peers.redis import reach as reach_redis

HOST = "127.0.0.1"
SLOW_FSYNC_S = 0.05  # as long as a fast pool needs for its first token
FSYNC_TRIES = 5


def port_findings(*ports: int) -> Iterator[Finding]:
    """Ports that somebody else listens on."""
    for port in ports:
        with socket.socket() as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                ours.bind((HOST, port))
            except OSError as error:
                what = f"cannot be had: {error.strerror}"
                remedy = "it may be headrace itself; if not, stop what listens there, or take another --port"
                yield Finding(Severity.IMPAIRS, f"port {port}", what, remedy)


def ledger_findings(fleet: Fleet, ledger: Path) -> Iterator[Finding]:
    """Whether the ledger can be written, and how long the disk takes."""
    folder = next((each for each in (ledger, *ledger.parents) if each.is_dir()), Path())
    try:
        slowest_s = fsync_s(folder)
    except OSError as error:
        remedy = "let the gateway's user write there, or take another --ledger"
        yield Finding(Severity.STOPS, f"ledger {ledger}", f"{folder} cannot be written: {error.strerror}", remedy)
        return
    if ledger.is_file() and not os.access(ledger, os.W_OK):
        yield Finding(Severity.STOPS, f"ledger {ledger}", "cannot be written", "chown it, or take another --ledger")
    if fleet.ledger.fsync is Fsync.ALWAYS and slowest_s > SLOW_FSYNC_S:
        what = f"the disk takes up to {slowest_s * 1000:.0f} ms to keep what was written, and every answer waits for it"
        yield Finding(Severity.IMPAIRS, "ledger.fsync", what, 'a faster disk, or fsync = "interval"')


def fsync_s(folder: Path) -> float:
    """The longest of a few times that the disk under `folder` takes, in seconds. Raises OSError."""
    slowest_s = 0.0
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNC_TRIES):
            file.write(b"\n" * 4096)
            file.flush()
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
    return slowest_s


def service_findings(fleet: Fleet, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether Redis and PostgreSQL answer, where the fleet file names them. Without them the gateway runs on alone."""
    try:
        if fleet.peers.redis is not None:
            asyncio.run(reach_redis(fleet.peers, environment))
    except ConfigError as error:
        yield from _unreached(error, "start it, or take `redis` out of [peers]")
    try:
        if fleet.ledger.postgres is not None:
            reach_postgres(database_url(fleet.ledger.postgres))
    except ConfigError as error:
        yield from _unreached(error, "start it, or take `postgres` out of [ledger]; what is missed is shipped later")


def _unreached(error: ConfigError, remedy: str) -> Iterator[Finding]:
    for fault in error.faults:
        yield Finding(Severity.IMPAIRS, fault.path, fault.message, remedy)
