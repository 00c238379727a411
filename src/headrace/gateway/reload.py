"""Hot reload: another fleet file, taken on whole or not at all, while requests go on.

Once per sweep, and when asked (SIGHUP), the file is looked at: by its times and size, then by its SHA-256. What has
changed is parsed and checked beside the event loop, as at the start, with every fault at once. With any fault nothing
changes: the old fleet stays, the faults are told once, and `/admin/state` keeps them. Without one, everything is
swapped between two events: links to backends, recognition, fittings, pages, and the policy engine (`FleetReplaced`).

A link to a backend that is unchanged stays, with its connections. One to a backend that is gone, or is another now,
finishes what it has and is then closed. Clients' connections are not touched.

What the file cannot change is what the process was started with: ports, ledger, journal, `[peers]`, and the store of
answers, whose size is that of the first fleet. Another key file, `[tls]` or `[admin]` is refused, so that nobody takes
a gateway to be guarded that is not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from headrace.errors import ConfigError, HeadraceError
from headrace.fleet import Fleet
from headrace.gateway.backends import BackendLink
from headrace.gateway.driver import Gateway
from headrace.gateway.tokens import Tokens
from headrace.policy import FleetReplaced, PeriodResumed, Policy
from headrace.telemetry import tell

CheckFleet = Callable[[str], tuple[Fleet, Policy]]
Stamp = tuple[int, int, int]


class FleetFile:
    """The fleet file of one gateway, and what it said last.

    Attributes:
        read: the fleet and policy of a text that was checked: what `policy.Generations` asks.
    """

    def __init__(self, path: Path, text: str, check: CheckFleet, keep: Callable[[str], None]) -> None:
        """
        Args:
            text: what the running fleet was made of.
            check: parses and checks a text; raises ConfigError with every fault.
            keep: is given every text that was taken on.
        """
        self.path = path
        self.sha256 = _sha256(text)
        self._check = check
        self._keep = keep
        self._stamp: Stamp | None = None
        self._seen = self.sha256
        self._checked: dict[str, tuple[Fleet, Policy]] = {}

    @property
    def as_running(self) -> bool:
        """Whether the file, as it was last seen, says what runs."""
        return self._seen == self.sha256

    def read(self, event: FleetReplaced) -> tuple[Fleet, Policy]:
        """What a text says that `changed` has returned."""
        return self._checked.pop(event.fleet)

    async def changed(self, anew: bool = False) -> tuple[str, Fleet, Policy] | None:
        """The text, the fleet and its policy, if the file says another than the running one; None: nothing new.

        Args:
            anew: look into it whatever its times are, and say again what is wrong with it.

        Raises:
            ConfigError: it has faults, and they were not told before.
        """
        try:
            stamp = _stamp(self.path)
            if stamp == self._stamp and not anew:
                return None
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None  # it is being replaced; if it stays away, the fleet stays as it is
        self._stamp = stamp
        found = _sha256(text)
        if found == self.sha256 or (found == self._seen and not anew):
            self._seen = found
            return None
        self._seen = found
        self._checked[text] = await asyncio.to_thread(self._check, text)
        return text, *self._checked[text]

    def taken(self, text: str) -> None:
        """The fleet runs now."""
        self.sha256 = _sha256(text)
        self._keep(text)

    def refused(self, text: str) -> None:
        """It was not taken on after all."""
        self._checked.pop(text, None)


class Reloader:
    """Takes on what the fleet file says.

    Attributes:
        faults: what is wrong with the file as it is; empty: nothing. reloads, refused: how often it was taken on, or
            not.
    """

    def __init__(
        self,
        gateway: Gateway,
        file: FleetFile,
        tokens: Tokens,
        *,
        replaced: Callable[[], None],
        resumed: Callable[[Fleet], list[PeriodResumed]],
    ) -> None:
        """
        Args:
            replaced: is called when another fleet has been taken on.
            resumed: where the periods of a fleet's commitments and budgets stand by the ledger.
        """
        self.file = file
        self.faults: tuple[str, ...] = ()
        self.reloads = 0
        self.refused = 0
        self._gateway = gateway
        self._tokens = tokens
        self._replaced = replaced
        self._resumed = resumed
        self._leaving: list[BackendLink] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._busy = asyncio.Lock()

    async def look(self, anew: bool = False) -> None:
        """Take on the file if it has changed; a fault is told, and changes nothing."""
        async with self._busy:
            text = None
            try:
                found = await self.file.changed(anew)
                if found is None:
                    self.faults = () if self.file.as_running else self.faults
                    return
                text = found[0]
                await self._take(*found)
            except HeadraceError as error:
                self.file.refused(text or "")
                self.refused += 1
                self.faults = tuple(map(str, error.faults)) if isinstance(error, ConfigError) else (str(error),)
                tell(f"{self.file.path}: not taken on, the fleet stays as it is: {error}")

    async def _take(self, text: str, fleet: Fleet, policy: Policy) -> None:
        gateway = self._gateway
        links = gateway.linked(fleet)
        fresh = [link for name, link in links.items() if gateway.links.get(name) is not link]
        await self._tokens.also(fresh)
        before = gateway.fleet
        resumed = await asyncio.to_thread(self._resumed, fleet) if _has_new_periods(before, fleet) else []
        self._leaving += [link for name, link in gateway.links.items() if links.get(name) is not link]
        gateway.take(FleetReplaced(text, policy.name), fleet, links)
        known = {f"commitments.{n}" for n, each in before.commitments.items() if fleet.commitments.get(n) == each}
        known |= {f"budgets.{n}" for n, each in before.budgets.items() if fleet.budgets.get(n) == each}
        for event in resumed:
            if event.limit not in known:
                gateway.tell(event)
        for link in fresh:
            link.pool.warm_up()
        self.file.taken(text)
        self.faults = ()
        self.reloads += 1
        self._replaced()
        tell(f"{self.file.path}: taken on; {len(fleet.backends)} backends", logging.INFO)

    def sweep(self) -> None:
        """Close links that have nothing left to do."""
        if not self._leaving:
            return
        busy = self._gateway.links_in_use()
        for link in [link for link in self._leaving if link not in busy]:
            self._leaving.remove(link)
            self._tokens.forget(link)
            task = asyncio.ensure_future(link.pool.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close what is left."""
        for link in self._leaving:
            await link.pool.close()
        self._leaving.clear()


def _has_new_periods(before: Fleet, after: Fleet) -> bool:
    return before.commitments != after.commitments or before.budgets != after.budgets


def _stamp(path: Path) -> Stamp:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
