"""Accounts in shared memory: what every tenant and key has used, the same for all workers of a gateway.

A limit that each worker keeps for itself is a limit of as many times as much. So the counts are in a file that all
workers map (in memory, as long as the supervisor lives; alone, a process needs no file), and a change of them is read,
decided and written under one lock of that file. The lock is the kernel's (`fcntl`, a byte range): two calls of about a
microsecond, held for some ten, and it ends with the process that holds it, so a killed worker blocks nobody. Pure
Python has no compare-and-swap, and leases (each worker takes some ahead) would let a limit be exceeded by what is
leased or stop short of it by as much; under the lock the law is exact:

    the sum over all workers of what was admitted never exceeds what the account held

    header    magic 8 | workers 8 | accounts 8 | resumed 8
    account   name's hash 16 | requests: level, as of | tokens: level, as of | day: start, USD | month: start, USD |
              reserved USD of each worker

Buckets go by CLOCK_MONOTONIC, which is one clock for all processes of a machine; days and months by wall time. What is
reserved is each worker's own figure: one that is started again in the place of a crashed one takes what that had
reserved as spent, since nobody can say any more that it was not. Each figure is eight bytes at a place that eight
divides, so a process that dies while it writes leaves the old or the new one.

Source: fcntl(2), clock_gettime(2).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from os import PathLike

from headrace.errors import CapacityError, ConfigError, Fault

MAGIC = 0x3144414548524441  # another layout gets another one
HEADER = struct.Struct("<4Q")
COUNT = struct.Struct("<Q")
COUNT_AT, RESUMED_AT = 16, 24
HASH_BYTES = 16
FIGURES = struct.Struct("<8d")
AMOUNT = struct.Struct("<d")
MOST_ACCOUNTS = 32_768


class Account:
    """One account as it was read under the lock.

    Attributes:
        requests_level, tokens_level: of the buckets, as of `requests_as_of_s`, `tokens_as_of_s`; as of 0: never used.
        day_unix_s, month_unix_s: where the periods of `day_usd` and `month_usd` began.
        reserved_usd: by all workers.
    """

    __slots__ = (
        "day_unix_s",
        "day_usd",
        "month_unix_s",
        "month_usd",
        "requests_as_of_s",
        "requests_level",
        "reserved_usd",
        "tokens_as_of_s",
        "tokens_level",
    )

    def __init__(self, figures: tuple[float, ...], reserved_usd: float) -> None:
        self.requests_level, self.requests_as_of_s, self.tokens_level, self.tokens_as_of_s = figures[:4]
        self.day_unix_s, self.day_usd, self.month_unix_s, self.month_usd = figures[4:]
        self.reserved_usd = reserved_usd

    def figures(self) -> tuple[float, ...]:
        """As they are written."""
        return (
            *(self.requests_level, self.requests_as_of_s, self.tokens_level, self.tokens_as_of_s),
            *(self.day_unix_s, self.day_usd, self.month_unix_s, self.month_usd),
        )

    def begin(self, day_unix_s: float, month_unix_s: float) -> None:
        """It is this day of this month: what was spent in others is over."""
        if self.day_unix_s != day_unix_s:
            self.day_unix_s, self.day_usd = day_unix_s, 0.0
        if self.month_unix_s != month_unix_s:
            self.month_unix_s, self.month_usd = month_unix_s, 0.0


class Accounts:
    """The accounts of one gateway, as one of its workers changes them. Use them only within `locked`."""

    def __init__(self, path: str | PathLike[str] | None = None, workers: int = 1, own: int = 0) -> None:
        """
        Args:
            path: of the file that the workers share; None: there is only this one.
            own: number of this worker, from 0.

        Raises:
            OSError: the file cannot be made or mapped.
            ConfigError: the file is of another number of workers, or another version.
        """
        self.workers = workers
        self._own = own
        self._stride = HASH_BYTES + FIGURES.size + AMOUNT.size * workers
        self._reserved = struct.Struct(f"<{workers}d")
        self._numbers: dict[bytes, int] = {}
        self._fd = -1
        size = HEADER.size + MOST_ACCOUNTS * self._stride
        if path is None:
            self._memory = mmap.mmap(-1, size)
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.truncate(self._fd, size)
            self._memory = mmap.mmap(self._fd, size)
        with self.locked():
            self._begin(path)
            self._take_over()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes an account meanwhile. Waits for whoever does: some microseconds."""
        self.lock()
        try:
            yield
        finally:
            self.unlock()

    def lock(self) -> None:
        """See `locked`, which is for whoever is in no hurry."""
        if self._fd >= 0:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1)

    def unlock(self) -> None:
        """The end of `lock`."""
        if self._fd >= 0:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1)

    def number(self, name: str) -> int:
        """The account of this name, which is opened if there is none.

        Raises:
            CapacityError: there are too many.
        """
        digest = blake2b(name.encode(), digest_size=HASH_BYTES).digest()
        found = self._numbers.get(digest)
        return self._open(digest) if found is None else found

    def read(self, number: int) -> Account:
        """What an account says."""
        at = HEADER.size + number * self._stride + HASH_BYTES
        figures = FIGURES.unpack_from(self._memory, at)
        return Account(figures, sum(self._reserved.unpack_from(self._memory, at + FIGURES.size)))

    def write(self, number: int, account: Account, reserved_usd: float = 0.0) -> None:
        """Write it back; `reserved_usd` is added to what this worker has reserved."""
        at = HEADER.size + number * self._stride + HASH_BYTES
        FIGURES.pack_into(self._memory, at, *account.figures())
        if reserved_usd:
            at += FIGURES.size + AMOUNT.size * self._own
            before = AMOUNT.unpack_from(self._memory, at)[0]
            AMOUNT.pack_into(self._memory, at, max(0.0, before + reserved_usd))

    @property
    def resumed(self) -> bool:
        """Whether what was spent before this gateway started is in the accounts."""
        return bool(COUNT.unpack_from(self._memory, RESUMED_AT)[0])

    def resume(self, spent: Mapping[str, tuple[float, float]], day_unix_s: float, month_unix_s: float) -> None:
        """Put in what was spent before: USD of this day and this month by the name of the account."""
        for name, (day_usd, month_usd) in spent.items():
            number = self.number(name)
            account = self.read(number)
            account.begin(day_unix_s, month_unix_s)
            account.day_usd += day_usd
            account.month_usd += month_usd
            self.write(number, account)
        COUNT.pack_into(self._memory, RESUMED_AT, 1)

    def close(self) -> None:
        """Unmap the file; it stays."""
        self._memory.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, path: str | PathLike[str] | None) -> None:
        magic, workers, _, _ = HEADER.unpack_from(self._memory, 0)
        if magic == 0:
            HEADER.pack_into(self._memory, 0, MAGIC, self.workers, 0, 0)
        elif (magic, workers) != (MAGIC, self.workers):
            raise ConfigError("accounts", [Fault(str(path), "is of another gateway; remove it and start again")])

    def _take_over(self) -> None:
        """What the worker before this one, in the same place, had reserved when it died is spent."""
        for number in range(self._count):
            at = HEADER.size + number * self._stride + HASH_BYTES + FIGURES.size + AMOUNT.size * self._own
            left = AMOUNT.unpack_from(self._memory, at)[0]
            if left:
                account = self.read(number)
                account.day_usd += left
                account.month_usd += left
                self.write(number, account, -left)

    @property
    def _count(self) -> int:
        return int(COUNT.unpack_from(self._memory, COUNT_AT)[0])

    def _open(self, digest: bytes) -> int:
        """Look among those that others have opened since; else open it. They only ever become more."""
        count = self._count
        for number in range(len(self._numbers), count):
            at = HEADER.size + number * self._stride
            self._numbers[bytes(self._memory[at : at + HASH_BYTES])] = number
        found = self._numbers.get(digest)
        if found is not None:
            return found
        if count >= MOST_ACCOUNTS:
            raise CapacityError(f"{MOST_ACCOUNTS} tenants and keys are counted already; restart the gateway")
        at = HEADER.size + count * self._stride
        self._memory[at : at + HASH_BYTES] = digest
        COUNT.pack_into(self._memory, COUNT_AT, count + 1)
        self._numbers[digest] = count
        return count
