"""How the usage ledger is kept: when it reaches the disk, when a new file begins, and where else it is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fsync(StrEnum):
    """When what was written is forced to the disk. In every case it outlives the process; this is about the machine."""

    NEVER = "never"  # when the kernel likes, which is within half a minute; a power cut takes what it had not written
    INTERVAL = "interval"  # every `fsync_interval_s`, by a thread: a power cut takes at most the last interval
    ALWAYS = "always"  # once a round, before the round's bytes leave: a power cut takes nothing that was acted upon


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """The usage ledger; each is a setting with a default.

    Attributes:
        fsync: when records are forced to the disk.
        fsync_interval_s: time between two times, with `interval`.
        rotate_bytes: a file of at least this size is followed by a new one; None: never.
        rotate_daily: so is one of an earlier day (UTC).
        postgres: where the URL of a PostgreSQL database is that records are shipped to: `env:NAME` or `file:PATH`;
            None: none.
    """

    fsync: Fsync = Fsync.NEVER
    fsync_interval_s: float = 1.0
    rotate_bytes: int | None = None
    rotate_daily: bool = False
    postgres: str | None = None

    @property
    def rotates(self) -> bool:
        """Whether there is more than one file, so that the ledger is a directory."""
        return self.rotate_daily or self.rotate_bytes is not None
