"""The gRPC server that Envoy asks: `ExternalProcessor`, and the health service by which it finds one that answers.

Health follows the endpoint picker protocol: `liveness` while the process answers; readiness, and the processor itself,
until the gateway drains or cannot put attempts on record. As everywhere, backends have no say in it.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from headrace.epp.carried import CarriedPool
from headrace.epp.exchange import EnvoyExchange
from headrace.epp.ext_proc import SERVICE, ProcessingRequest
from headrace.epp.stream import Stream
from headrace.gateway import ClientServer, Gateway
from headrace.gateway.fitting import Fittings
from headrace.gateway.front import Front
from headrace.gateway.request import GatewayRequest
from headrace.gateway.routes import Routes
from headrace.http import ConnectionPool

HEALTH = "grpc.health.v1.Health"
LIVENESS, READINESS = "liveness", ("", "readiness", SERVICE)
LAST_WORDS_S = 1.0  # for the last that was said on a stream to leave, once it has ended
_OPTIONS = (("grpc.so_reuseport", 0),)


class SubsetFittings(Fittings):
    """Fittings that keep to the endpoints that a data plane names for a request."""

    def fit(self, request: GatewayRequest) -> tuple[str, ...]:
        """The backends that cannot take it, or must not."""
        unfit = super().fit(request)
        exchange = request.exchange
        if not isinstance(exchange, EnvoyExchange) or exchange.allowed is None:
            return unfit
        return tuple({**dict.fromkeys(unfit), **dict.fromkeys(self._outside_of(exchange.allowed))})

    def _outside_of(self, allowed: frozenset[str]) -> list[str]:
        links = self._links.items()
        return [
            name for name, link in links if not isinstance(link.pool, CarriedPool) or link.pool.endpoint not in allowed
        ]


class PickerServer:
    """Listens for Envoy.

    Attributes:
        port: the port it listens on.
        draining: it takes no new stream.
    """

    def __init__(self, routes: Routes, gateway: Gateway) -> None:
        self.port = 0
        self.draining = False
        self._routes = routes
        self._gateway = gateway
        self._streams = 0
        self._server = grpc.aio.server(options=_OPTIONS)
        process = grpc.stream_stream_rpc_method_handler(
            self._process, request_deserializer=ProcessingRequest.FromString, response_serializer=None
        )
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=HealthCheckRequest.FromString,
            response_serializer=HealthCheckResponse.SerializeToString,
        )
        handlers = ((SERVICE, {"Process": process}), (HEALTH, {"Check": check}))
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers)
        )

    @property
    def connections(self) -> int:
        """Streams that are open: requests on their way through Envoy."""
        return self._streams

    async def listen(self, address: str) -> None:
        """Listen on `host:port`. Raises OSError: the address cannot be had."""
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, f"{address} cannot be had") from error
        await self._server.start()

    async def drain(self, timeout_s: float) -> bool:
        """Take no new stream, let those that are open end, then close; False if `timeout_s` cut something off."""
        self.draining = True
        stopping = asyncio.ensure_future(self._server.stop(timeout_s + LAST_WORDS_S))
        stopped, _ = await asyncio.wait((stopping,), timeout=timeout_s)
        clean = bool(stopped) or not self._streams  # by then the server has cut nothing off
        if not clean:
            await self._server.stop(None)
        await stopping
        return clean

    async def close(self) -> None:
        """Close every stream at once."""
        self.draining = True
        await self._server.stop(None)

    async def _process(self, requests: object, context: Any) -> None:
        gateway, limits = self._gateway, self._gateway.fleet.limits
        if self._streams >= limits.max_connections:  # not gRPC's own limit: that would refuse health checks, too
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{limits.max_connections} streams are open")
        self._streams += 1
        try:
            await Stream(self._routes.public, gateway.rounds, limits.max_body_bytes).run(context)
        finally:
            self._streams -= 1

    async def _check(self, asked: Any, context: Any) -> Any:
        status = HealthCheckResponse.SERVING
        if asked.service in READINESS:
            if self.draining or self._routes.draining or self._gateway.ledger_fault:
                status = HealthCheckResponse.NOT_SERVING
        elif asked.service != LIVENESS:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {asked.service!r} here")
        return HealthCheckResponse(status=status)


class EnvoyFront:
    """Clients come by Envoy. Args: host: the address to listen on."""

    fittings: type[Fittings] = SubsetFittings
    pools: type[ConnectionPool] = CarriedPool

    def __init__(self, host: str) -> None:
        self._host = host

    async def listen(self, routes: Routes, gateway: Gateway, host: str, port: int) -> ClientServer:
        """Listen for Envoy, on the address of this front."""
        server = PickerServer(routes, gateway)
        await server.listen(f"{self._host}:{port}")
        return server


def picker(host: str = "127.0.0.1") -> Front:
    """The front of a gateway whose clients come by Envoy."""
    return EnvoyFront(host)
