"""The audit log: who changed what and when, one JSON object a line, only ever appended to.

Several processes write one file: each line is one write to a file opened for appending, under a lock, and forced to
the disk. No secret is ever in it: keys go by their names and public prefixes.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from headrace.fleet import Fleet

AUDIT_NAME = "audit.jsonl"


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change.

    Attributes:
        at: ISO 8601, in UTC.
        actor: who made it: `cli:USER`, `admin` (whoever held the admin key), `file` (whoever wrote the fleet file).
        action: what was done, e.g. `keys.revoke`; `subject`: to what; `detail`: what else is worth knowing.
    """

    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, object] = {}


class AuditLog:
    """Appends changes to one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, now_unix_s: float, actor: str, action: str, subject: str, **detail: object) -> None:
        """Put a change on record.

        Raises:
            OSError: it cannot be written.
        """
        at = datetime.fromtimestamp(now_unix_s, UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode(Change(at, actor, action, subject, detail)) + b"\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)


def audit_path(fleet: Fleet) -> Path | None:
    """Where changes are put on record; None: nowhere."""
    if fleet.admin.audit is not None:
        return Path(fleet.admin.audit)
    return None if fleet.tenants.keys is None else Path(fleet.tenants.keys).with_name(AUDIT_NAME)


def read_audit(path: Path) -> list[Change]:
    """Every change in a log, in order. Raises OSError, msgspec.DecodeError: it cannot be read."""
    return [msgspec.json.decode(line, type=Change) for line in path.read_bytes().splitlines()]
