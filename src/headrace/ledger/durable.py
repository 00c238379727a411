"""When what a ledger wrote is forced to the disk: never, by a thread every so often, or at once.

`write` gives bytes to the kernel, which keeps them when the process dies and not when the machine does; `fdatasync`
returns when they are on the disk. It takes as long as the disk takes, so only `always` has the writer wait for it, and
then once for all records that were written together.

A failed `fdatasync` is told to the writer, at once or at its next `fault`. The kernel may have dropped what it could
not write, and a second `fdatasync` does not say so: what was not forced by then is as it is under `never`.
"""

from __future__ import annotations

import os
import threading

from headrace.fleet import Fsync


class Durability:
    """Follows the file that a ledger writes, and closes the ones before it.

    Attributes:
        written_bytes, synced_bytes: so far; what is between them, a power cut may take. `written_bytes` belongs to the
            writer, `synced_bytes` to whoever syncs: the thread, or else the writer.
    """

    def __init__(self, policy: Fsync, interval_s: float, fd: int) -> None:
        self.policy = policy
        self.written_bytes = 0
        self.synced_bytes = 0
        self._fd = fd
        self._before: list[int] = []  # earlier files, to be synced and closed
        self._fault: OSError | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if policy is Fsync.INTERVAL:
            self._thread = threading.Thread(target=self._run, args=(interval_s,), name="ledger-sync", daemon=True)
            self._thread.start()

    @property
    def unsynced_bytes(self) -> int:
        """Written, and not forced to the disk by us."""
        return self.written_bytes - self.synced_bytes

    def settle(self) -> None:
        """With `always`: return when all that was written is on the disk. Raises OSError: it is not."""
        if self.policy is Fsync.ALWAYS and self.written_bytes > self.synced_bytes:
            self._sync()

    def follow(self, fd: int) -> None:
        """What is written from now on goes to another file; the one before is synced, as the policy says, and closed.

        Raises:
            OSError: it could not be synced.
        """
        self._before.append(self._fd)
        self._fd = fd
        if self._thread is None:
            self._close_before()

    def fault(self) -> OSError | None:
        """What the thread met since it was asked last."""
        fault, self._fault = self._fault, None
        return fault

    def close(self) -> None:
        """Sync, as the policy says, and close. Raises OSError: it could not be synced."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
        try:
            self._close_before()
            if self.policy is not Fsync.NEVER and self.written_bytes > self.synced_bytes:
                self._sync()
        finally:
            os.close(self._fd)

    def _run(self, interval_s: float) -> None:
        while not self._stopped.wait(interval_s):
            try:
                self._close_before()
                if self.written_bytes > self.synced_bytes:
                    self._sync()
            except OSError as fault:
                self._fault = fault

    def _sync(self) -> None:
        upto = self.written_bytes
        os.fdatasync(self._fd)
        self.synced_bytes = upto

    def _close_before(self) -> None:
        while self._before:
            fd = self._before.pop(0)
            try:
                if self.policy is not Fsync.NEVER:
                    os.fdatasync(fd)
            finally:
                os.close(fd)
