"""A gateway that listens: its round of every second, another fleet file, and its end."""

from __future__ import annotations

import asyncio

from headrace.gateway.crew import Shown
from headrace.gateway.driver import Gateway
from headrace.gateway.front import ClientServer
from headrace.gateway.onlooker import Onlooker
from headrace.gateway.peering import Peering
from headrace.gateway.routes import Routes
from headrace.gateway.tokens import Tokens
from headrace.gateway.watch import Watch
from headrace.gateway.watchers import Watchers
from headrace.http import Server

SWEEP_INTERVAL_S = 1.0


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
