"""Requests that Envoy carries to a backend, in the place of a connection of our own.

To the gateway a backend is a pool that takes a request and gives its response to a sink. A `CarriedPool` hands the
first attempt of a request to the stream on which Envoy told of it: Envoy connects, sends and reads. Envoy has one
response for a request, so every further attempt (after a failure, beside a late one, to go on with an answer that
broke) goes over a connection of this pool's own, and its answer takes the place of Envoy's on the same stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from headrace.gateway.attempt import Attempt
from headrace.http import ConnectionPool, FailedKind, ResponseSink
from headrace.http.client import ClientExchange

_CONNECTION_FAILED = ("connection_failure", "connection_timeout", "no_healthy_upstream", "no_healthy_host")
VIA_BACKEND = "via_upstream"


class Carried(ClientExchange):
    """One request on its way through Envoy, and the way of its response back to the sink."""

    __slots__ = ("_reading", "_wanted")

    def __init__(self, pool: ConnectionPool, sink: ResponseSink, reading: Callable[[bool], None]) -> None:
        """
        Args:
            reading: is told whether more of the response is to be read.
        """
        super().__init__(pool, b"", b"", sink, b"POST")
        self._reading = reading

    def cancel(self) -> None:
        """The sink hears nothing more. Envoy goes on until its stream is answered, by whatever takes its place."""
        self.sink = None
        self._reading(True)

    def release(self) -> None:
        """Want no more of the response."""
        self.cancel()

    def hand_over(self, sink: ResponseSink) -> None:
        """Give the rest of the response to another sink."""
        self.sink = sink

    def pause_reading(self) -> None:
        """Read no further until `resume_reading`."""
        self._reading(False)

    def resume_reading(self) -> None:
        """Read on."""
        self._reading(True)

    def begin(self, status: int, headers: dict[bytes, bytes], details: str) -> None:
        """Envoy tells of a response.

        Args:
            details: where it comes from; empty: Envoy does not say. What Envoy answered itself is no answer of the
                backend's, but the news that there will be none.
        """
        if self.sink is None:
            return
        if not details or details == VIA_BACKEND:
            self.sink.on_head(status, headers)
            return
        refused = any(each in details for each in _CONNECTION_FAILED)
        self.fail(FailedKind.REFUSED if refused else FailedKind.RESET, f"Envoy has no answer: {details}")

    def data(self, data: bytes) -> None:
        """A piece of the response's body came."""
        if self.sink is not None and data:
            self.sink.on_data(data)

    def end(self) -> None:
        """The response is complete."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.on_end(True)


@runtime_checkable
class Carrier(Protocol):
    """An exchange whose request Envoy can carry."""

    @property
    def carriable(self) -> bool:
        """Whether Envoy still waits to be told where the request goes."""

    def carry(self, pool: CarriedPool, head: bytes, body: bytes, sink: ResponseSink) -> Carried:
        """Have Envoy send this request to the pool's backend."""


class CarriedPool(ConnectionPool):
    """Connections to one backend: Envoy's first, own ones where Envoy's cannot be used."""

    @property
    def endpoint(self) -> str:
        """Host and port, by which the endpoint picker protocol names an endpoint."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def send(self, head: bytes, body: bytes, sink: ResponseSink, method: bytes = b"POST") -> ClientExchange:
        """Send a request; the sink is called later, never from here."""
        exchange = sink.request.exchange if isinstance(sink, Attempt) else None
        if isinstance(exchange, Carrier) and exchange.carriable:
            return exchange.carry(self, head, body, sink)
        return super().send(head, body, sink, method)

    def warm_up(self) -> None:
        """Envoy keeps the warm connections."""
