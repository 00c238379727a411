"""Starting a gateway inside a running event loop: everything that it needs, put together, in this order."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from typing import NamedTuple

from headrace.fleet import Fleet
from headrace.gateway.access import Access
from headrace.gateway.books import Journal, Ledger
from headrace.gateway.crew import Crew
from headrace.gateway.driver import Engine, Gateway
from headrace.gateway.entrance import Entrance, is_loopback
from headrace.gateway.fitting import Fittings
from headrace.gateway.front import ClientServer, Front
from headrace.gateway.onlooker import Onlooker, told
from headrace.gateway.peering import Peering
from headrace.gateway.reload import FleetFile, Reloader
from headrace.gateway.routes import Routes, refusal
from headrace.gateway.run import RunningGateway
from headrace.gateway.tokens import Tokens
from headrace.gateway.watch import Look, Watch
from headrace.gateway.watchers import Watchers
from headrace.http import ROUND_S, ConnectionPool, HttpLimits, Server, serve
from headrace.policy import PeriodResumed

GC_THRESHOLD = 50_000
KEPT_MEMORY_BYTES = 64 * 1024 * 1024
M_TRIM_THRESHOLD = -1  # as in <malloc.h>
M_MMAP_THRESHOLD = -3


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
    crew, entrance = crew or Crew(), entrance or Entrance()
    gateway = Gateway(
        fleet,
        engine,
        ledger,
        journal=told(journal, onlooker),
        clock=clock,
        run_id=ledger.run_id,
        round_s=round_s,
        fittings=Fittings if front is None else front.fittings,
        pools=ConnectionPool if front is None else front.pools,
        access=Access(fleet, entrance.keys, entrance.accounts),
        shelf=crew.shelf,
    )
    for event in resumed:
        gateway.tell(event)
    watchers = Watchers(gateway.telemetry, fleet.telemetry, ledger.run_id)
    before = crew.predecessor()
    if before is not None:
        gateway.telemetry.counters.add(before)
    tokens = Tokens(gateway.links.values())
    await tokens.start()
    peering = await _peering(gateway, crew)
    routes = Routes(gateway, None if onlooker is None else onlooker.handle, crew)
    if fleet_file is not None:
        replaced = partial(_replaced, routes, entrance, fleet_file, crew)
        routes.reloader = Reloader(gateway, fleet_file, tokens, replaced=replaced, resumed=resumed_of)
    doors = await _Doors.open(routes, gateway, entrance, front, (host, port), admin_port)
    for link in gateway.links.values():
        link.pool.warm_up()
    _keep_memory()
    watch = Watch(_looks(entrance, doors.secured, crew))
    running = RunningGateway(routes, gateway, doors.server, doors.admin, tokens, peering, watch, watchers, onlooker)
    running.show()
    if onlooker is not None:
        onlooker.attach(running)
    return running


async def _peering(gateway: Gateway, crew: Crew) -> Peering | None:
    """What this gateway tells the others, and hears of them; None: it has no others."""
    if crew.peers is None:
        return None
    peering = Peering(gateway, crew.peers, gateway.fleet.peers.interval_s)
    await peering.start()
    return peering


class _Doors(NamedTuple):
    """The two ports; `secured`: those that speak TLS."""

    server: ClientServer
    admin: Server | None
    secured: list[Server]

    @classmethod
    async def open(
        cls,
        routes: Routes,
        gateway: Gateway,
        entrance: Entrance,
        front: Front | None,
        address: tuple[str, int],
        admin_port: int | None,
    ) -> _Doors:
        """Listen; both ports or none. Raises OSError: an address cannot be had."""
        listen = partial(serve, limits=_http_limits(gateway.fleet), refusal=refusal, reuse_port=routes.crew.workers > 1)
        context = None if entrance.certificates is None else entrance.certificates.context
        secured: list[Server] = []
        if front is None:
            routes.server = server = await listen(routes.public, *address, rounds=gateway.rounds, ssl=context)
            secured += [server] if context else []
        else:
            routes.server = await front.listen(routes, gateway, *address)
        if admin_port is None:
            return cls(routes.server, None, secured)
        handler = routes.admin if entrance.admin_key is None else entrance.admin_key.guard(routes.admin)
        context = None if is_loopback(entrance.admin_host) else context
        try:
            admin = await listen(handler, entrance.admin_host, admin_port, ssl=context)
        except OSError:
            await routes.server.close()
            raise
        return cls(routes.server, admin, [*secured, *([admin] if context else [])])


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
