"""The emulator: every emulated backend of a fleet, each behind a port of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from headrace.emulate.backend import EmulatedBackend
from headrace.emulate.script import Script
from headrace.fleet import Fleet
from headrace.fleet.dialect_check import debited_deployment, spoken_dialect
from headrace.http import HttpLimits, Server, serve
from headrace.modelserver import QuotaGate, kv_room_tokens, model_server
from headrace.perf import speed_curve


class Emulator:
    """Emulated backends in one event loop."""

    def __init__(self, fleet: Fleet, seed: int = 0, only: Collection[str] | None = None) -> None:
        """
        Args:
            only: names of the backends to emulate; None: every one that the fleet says is emulated.
        """
        started_s = time.monotonic()
        self.backends: dict[str, EmulatedBackend] = {}
        self._urls: dict[str, str] = {}
        self._servers: dict[str, Server] = {}
        gates: dict[str, QuotaGate] = {}
        for pool in fleet.pools.values():
            curve = speed_curve(pool.deployment)
            for backend in pool.backends:
                if backend.emulated and (only is None or backend.name in only):
                    self._urls[backend.name] = backend.url
                    dialect = spoken_dialect(backend)
                    deployment = debited_deployment(pool.deployment, dialect)
                    self.backends[backend.name] = EmulatedBackend(
                        backend.name,
                        pool.model_name_at(backend),
                        model_server(curve, deployment, seed, backend.name, gates),
                        seed,
                        lambda: time.monotonic() - started_s,
                        deployment.finds_prefixes,
                        kv_room_tokens(deployment),
                        dialect=dialect,
                    )

    async def start(self, ephemeral: bool = False) -> dict[str, str]:
        """Listen at every backend's URL, or on free loopback ports; returns the URL of each by name.

        Raises OSError: an address cannot be had.
        """
        found = {}
        for name, backend in self.backends.items():
            url = urlsplit(self._urls[name])
            port = 0 if ephemeral else url.port or 80
            server = await serve(backend.handle, "127.0.0.1", port, HttpLimits())
            self._servers[name] = server
            found[name] = f"http://127.0.0.1:{server.port}"
        return found

    def say(self, script: Script) -> None:
        """Every backend says this from now on, turn by turn."""
        for backend in self.backends.values():
            backend.desk.script = script

    def trouble(self, faults: Iterable[str]) -> None:
        """What goes wrong with the requests to come, one each, whichever backend gets them (see `fault`)."""
        shared = deque(faults)
        for backend in self.backends.values():
            backend.desk.faults = shared

    async def lose(self, name: str) -> None:
        """A backend is gone, with every answer that it was giving; nobody listens in its place."""
        self.backends[name].close()
        await self._servers.pop(name).close()

    async def stop(self) -> None:
        """Cut everything off."""
        for backend in self.backends.values():
            backend.close()
        for server in self._servers.values():
            await server.close()
