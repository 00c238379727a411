"""The machine: what is installed, how many files may be open, what time it is."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from headrace.cli.build import Build, build_of
from headrace.cli.diagnosis.finding import Finding, Severity
from headrace.cli.endpoints import Seen
from headrace.fleet import Fleet

SPARE_FILES = 128  # libraries, ledger, journal, the event loop's own, connections that are just closing
MOST_SKEW_S = 60.0  # signatures of requests hold for minutes


def installation_findings(build: Build | None = None, command: str | None = None) -> Iterator[Finding]:
    """Extensions that are older than their sources; a `headrace` on the path that is another than this one.

    Args:
        build, command: what to look at; None: what runs here.
    """
    build = build_of() if build is None else build
    if build.stale:
        stale = f"{len(build.stale)} compiled modules are older than their source ({build.stale[0]} ...)"
        yield Finding(Severity.STOPS, "installation", stale, "make compiled; or make pure")
    command = shutil.which("headrace") if command is None else command
    if command and Path(command).resolve().parent != Path(sys.executable).resolve().parent:
        here = Path(sys.executable).parent
        if Path(command).parent != here:
            yield Finding(
                Severity.ADVICE, "PATH", f"`headrace` is {command}, not that of {here}", "mend PATH, or remove one"
            )


def file_limit_findings(fleet: Fleet, soft: int | None = None) -> Iterator[Finding]:
    """Whether as many files may be open as there may be connections: two for each request in flight, one in the queue.

    Args:
        soft: the limit; None: of this process.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft is None else soft
    in_flight = sum(backend.max_in_flight for backend in fleet.backends)
    needed = 2 * in_flight + fleet.limits.queue_depth + SPARE_FILES
    if limit != resource.RLIM_INFINITY and limit < needed:
        what = f"{limit} files may be open, and {in_flight} requests in flight with a full queue take {needed}"
        yield Finding(
            Severity.IMPAIRS, "open files", what, f"ulimit -n {needed} (systemd: LimitNOFILE), or lower max_in_flight"
        )


def clock_findings(seen: Sequence[Seen], now_unix_s: float | None = None) -> Iterator[Finding]:
    """Whether the clock is far from what backends say, or earlier than this package.

    Args:
        now_unix_s: None: this machine's.
    """
    now = time.time() if now_unix_s is None else now_unix_s
    written = Path(__file__).stat().st_mtime
    remedy = "set the clock (timedatectl set-ntp true): budgets, days of the ledger and signatures go by it"
    if now < written - MOST_SKEW_S:
        yield Finding(Severity.IMPAIRS, "clock", f"says {_day(now)}, which is before headrace was installed", remedy)
    skews = sorted(now - one.listing.unix_s for one in seen if one.listing is not None and one.listing.unix_s)
    if skews and abs(skew := skews[len(skews) // 2]) > MOST_SKEW_S:
        which = "ahead of" if skew > 0 else "behind"
        yield Finding(Severity.IMPAIRS, "clock", f"is {abs(skew):.0f} s {which} what the backends say", remedy)


def _day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).date().isoformat()
