"""The front: by which clients come to the gateway. HTTP, unless another package brings its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headrace.gateway.fitting import Fittings
from headrace.http import ConnectionPool

if TYPE_CHECKING:
    from headrace.gateway.driver import Gateway
    from headrace.gateway.routes import Routes


class ClientServer(Protocol):
    """What the gateway needs of what its clients come by.

    Attributes:
        port: the port it listens on.
        draining: it takes nothing new.
    """

    port: int
    draining: bool

    @property
    def connections(self) -> int:
        """Open connections."""

    async def drain(self, timeout_s: float) -> bool:
        """Take nothing new, let what is under way end, then close; False if `timeout_s` cut something off."""

    async def close(self) -> None:
        """Close everything at once."""


class Front(Protocol):
    """Another way to come by than HTTP.

    Attributes:
        fittings: what says which backends cannot take a request that came by it.
        pools: what takes its requests to a backend.
    """

    fittings: type[Fittings]
    pools: type[ConnectionPool]

    async def listen(self, routes: Routes, gateway: Gateway, host: str, port: int) -> ClientServer:
        """Listen, and give requests to `routes.public`. Raises OSError: the address cannot be had."""
