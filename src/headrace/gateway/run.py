"""Starting and stopping a gateway inside a running event loop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial

from headrace.fleet import Fleet
from headrace.gateway.access import Access
from headrace.gateway.books import Journal, Ledger
from headrace.gateway.crew import Crew, Shown
from headrace.gateway.driver import Engine, Gateway
from headrace.gateway.entrance import Entrance, is_loopback
from headrace.gateway.fitting import Fittings
from headrace.gateway.front import ClientServer, Front
from headrace.gateway.onlooker import Onlooker, told
from headrace.gateway.peering import Peering
from headrace.gateway.reload import FleetFile, Reloader
from headrace.gateway.routes import Routes, refusal
from headrace.gateway.tokens import Tokens
from headrace.gateway.watch import Look, Watch
from headrace.gateway.watchers import Watchers
from headrace.http import ROUND_S, HttpLimits, Server, serve
from headrace.policy import PeriodResumed

SWEEP_INTERVAL_S = 1.0
GC_THRESHOLD = 50_000
KEPT_MEMORY_BYTES = 64 * 1024 * 1024
M_TRIM_THRESHOLD = -1  # as in <malloc.h>
M_MMAP_THRESHOLD = -3


class RunningGateway:
    """A gateway that listens.

    Attributes:
        gateway: the driver behind it.
        port, admin_port: where it listens; `admin_port` is None without one.
    """

    def __init__(
        self,
        routes: Routes,
        gateway: Gateway,
        server: ClientServer,
        admin: Server | None,
        tokens: Tokens,
        peering: Peering | None,
        watch: Watch,
        watchers: Watchers,
        onlooker: Onlooker | None = None,
    ) -> None:
        self.gateway = gateway
        self._onlooker = onlooker
        self._routes = routes
        self._tokens = tokens
        self._peering = peering
        self._watch = watch
        self._watchers = watchers
        self.port = server.port
        self.admin_port = None if admin is None else admin.port
        self._server = server
        self._admin = admin
        self._looks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)

    async def close(self, drain_timeout_s: float | None = None) -> bool:
        """Be no longer ready, stop accepting after a while, let live requests end, close everything.

        Args:
            drain_timeout_s: longest wait, from now on without accepting; None: as the fleet's limits say. 0 cuts
                everything off now.

        Returns:
            Whether every request ended by itself.
        """
        limits = self.gateway.fleet.limits
        self._routes.draining = True
        if drain_timeout_s is None:
            await asyncio.sleep(limits.drain_delay_s)
        clean = await self._server.drain(limits.drain_timeout_s if drain_timeout_s is None else drain_timeout_s)
        self._timer.cancel()
        self._watch.stop()
        if self._peering is not None:
            await self._peering.close()
        self._tokens.stop()
        await self.gateway.close()
        await asyncio.to_thread(self._watchers.close)
        if self._routes.reloader is not None:
            await self._routes.reloader.close()
        if self._admin is not None:
            await self._admin.close()
        return clean

    def reload(self, anew: bool = True) -> None:
        """Look whether the fleet file says something else, and take that on; nothing happens without a file."""
        if self._routes.reloader is not None:
            task = asyncio.ensure_future(self._routes.reloader.look(anew))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    def shown(self) -> Shown:
        """All workers as one, this one as it is now."""
        return self._routes.shown()

    def show(self) -> None:
        """Let the other workers see what this one has to show."""
        if self._routes.crew.pages is not None:
            self._routes.crew.show(self._routes.page())

    def _sweep(self) -> None:
        self.gateway.telemetry.loop_lag_s = max(0.0, self._loop.time() - self._timer.when())
        self.gateway.sweep(SWEEP_INTERVAL_S)
        if self._routes.reloader is not None and not self._looks:
            self._routes.reloader.sweep()
            self.reload(anew=False)
        self.show()
        self._timer = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)
        if self._onlooker is not None:  # last: a fault of it must end no sweep
            self._onlooker.sweep()


async def start_gateway(
    fleet: Fleet,
    engine: Engine,
    ledger: Ledger,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    admin_port: int | None = None,
    onlooker: Onlooker | None = None,
    journal: Journal | None = None,
    resumed: Iterable[PeriodResumed] = (),
    clock: Callable[[], float] = time.monotonic,
    round_s: float = ROUND_S,
    crew: Crew | None = None,
    fleet_file: FleetFile | None = None,
    resumed_of: Callable[[Fleet], list[PeriodResumed]] = lambda fleet: [],
    front: Front | None = None,
    entrance: Entrance | None = None,
) -> RunningGateway:
    """Listen for clients on `port` and for operators on `admin_port` (0: any free one; None: no admin port).

    Args:
        onlooker: is told every call of the engine, and takes what the admin port does not know itself.
        journal: is given every event of the engine with the actions it led to.
        resumed: what the engine is told before anything else (`resumed_periods`).
        clock: seconds that never decrease; the engine's second 0 is now.
        round_s: shortest time between two busy rounds of writing (`http.Rounds`); 0 where the event loop is shared with
            what must not wait.
        crew: the workers that listen on the same ports; None: this one is alone.
        fleet_file: is looked at for another fleet while it runs; the engine must be `policy.Generations`.
        resumed_of: where the periods of another fleet stand.
        front: by which clients come; None: HTTP.
        entrance: who may come in; None: whoever can reach it.

    Raises:
        ConfigError: a backend's key, token command or URL cannot be used.
        OSError: an address cannot be had.
    """
    crew = crew or Crew()
    record = told(journal, onlooker)
    entrance = entrance or Entrance()
    access = Access(fleet, entrance.keys, entrance.accounts)
    gateway = Gateway(
        fleet,
        engine,
        ledger,
        journal=record,
        clock=clock,
        run_id=ledger.run_id,
        round_s=round_s,
        fittings=Fittings if front is None else front.fittings,
        access=access,
    )
    for event in resumed:
        gateway.tell(event)
    watchers = Watchers(gateway.telemetry, fleet.telemetry, ledger.run_id)
    before = crew.predecessor()
    if before is not None:
        gateway.telemetry.counters.add(before)
    tokens = Tokens(gateway.links.values())
    await tokens.start()
    peering = None if crew.peers is None else Peering(gateway, crew.peers, fleet.peers.interval_s)
    if peering is not None:
        await peering.start()
    routes = Routes(gateway, None if onlooker is None else onlooker.handle, crew)
    if fleet_file is not None:
        replaced = partial(_replaced, routes, entrance, fleet_file, crew)
        routes.reloader = Reloader(gateway, fleet_file, tokens, replaced=replaced, resumed=resumed_of)
    listen = partial(serve, limits=_http_limits(fleet), refusal=refusal, reuse_port=crew.workers > 1)
    context = None if entrance.certificates is None else entrance.certificates.context
    server: ClientServer
    if front is None:
        server = await listen(routes.public, host, port, rounds=gateway.rounds, ssl=context)
    else:
        server = await front.listen(routes, gateway, host, port)
    routes.server = server
    admin_handler = routes.admin if entrance.admin_key is None else entrance.admin_key.guard(routes.admin)
    admin_context = None if is_loopback(entrance.admin_host) else context
    try:
        admin = (
            None
            if admin_port is None
            else await listen(admin_handler, entrance.admin_host, admin_port, ssl=admin_context)
        )
    except OSError:
        await server.close()
        raise
    for link in gateway.links.values():
        link.pool.warm_up()
    _keep_memory()
    secured = [each for each, ssl in ((server, context), (admin, admin_context)) if isinstance(each, Server) and ssl]
    watch = Watch(_looks(entrance, secured, crew))
    running = RunningGateway(routes, gateway, server, admin, tokens, peering, watch, watchers, onlooker)
    running.show()
    if onlooker is not None:
        onlooker.attach(running)
    return running


def _replaced(routes: Routes, entrance: Entrance, file: FleetFile, crew: Crew) -> None:
    """Another fleet is taken on: the first of the workers puts it on record."""
    routes.use()
    if crew.number == 0:
        entrance.record("file", "fleet.reload", str(file.path), sha256=file.sha256)


def _looks(entrance: Entrance, secured: list[Server], crew: Crew) -> list[Look]:
    """What is to be watched; `secured`: servers that speak TLS."""
    looks: list[Look] = []
    keys, certificates = entrance.keys, entrance.certificates

    async def keys_changed() -> None:
        if keys is not None and crew.number == 0:
            entrance.record("file", "keys.taken_on", str(keys.path), keys=len(keys.ring.keys))

    async def certificate_changed() -> None:
        if certificates is not None:
            for server in secured:
                await server.use_ssl(certificates.context)

    if keys is not None:
        looks.append((keys.look, keys_changed))
    if certificates is not None:
        looks.append((certificates.look, certificate_changed))
    return looks


def _http_limits(fleet: Fleet) -> HttpLimits:
    """The server's limits, each by the name that the fleet file has for it."""
    return HttpLimits(**{each.name: getattr(fleet.limits, each.name) for each in fields(HttpLimits)})


def _keep_memory() -> None:
    """Spare the allocator and the collector work that would come back with every request.

    What lives now lives on, so the collector need not look at it again, and requests leave no cycles behind. Freed
    bodies stay with the process: giving pages back and getting them zeroed again took a third of a large request's
    time. Where the C library has no `mallopt`, nothing is lost but that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY_BYTES // 2)
    mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY_BYTES)
