"""The Responses API over WebSocket connections: `GET /v1/responses` with an upgrade.

Each `response.create` becomes a request like any other, so routing, prices, retries, translation and the ledger are the
same; only what it comes in and goes out in differs (`lane`). On one connection a lane answers one request at a time,
in order, and lanes answer beside each other; a request without `stream_id` is in the lane without a name.

A conversation goes on by `previous_response_id` even where nothing is to be stored: of such answers the last one of
each lane is kept for as long as the connection lives, and for nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import NamedTuple

from headrace.errors import CapacityError, HeadraceError, QuotaExceeded, UnknownResponse
from headrace.gateway.access import owner_of
from headrace.gateway.driver import Gateway
from headrace.gateway.lane import LaneExchange
from headrace.gateway.refusals import JSON
from headrace.http import CloseCode, Exchange, SocketLimits, WebSocket, accept, handshake_fault
from headrace.wire import decode_head, shaped_error
from headrace.wire.apis.responses import Create, prepared, read_create, stream_id_of
from headrace.wire.body import top_level

LANES_TAKEN = "websocket_stream_limit_reached"
TOO_OLD = "websocket_connection_limit_reached"


class _Waiting(NamedTuple):
    exchange: LaneExchange
    create: Create


class ResponsesSockets:
    """Accepts the connections of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        limits = gateway.fleet.limits
        self._gateway = gateway
        self._limits = SocketLimits(
            max_message_bytes=limits.max_body_bytes, idle_timeout_s=limits.websocket_idle_timeout_s
        )
        self._next_id = 1

    def open(self, exchange: Exchange) -> None:
        """Answer a handshake."""
        fault = handshake_fault(exchange)
        if fault is not None:
            self._gateway.telemetry.refuse("handshake")
            body = shaped_error("responses", fault.status, fault.message, "invalid_request_error", "bad_handshake")
            exchange.respond(fault.status, JSON + fault.headers, body)
            return
        number, self._next_id = self._next_id, self._next_id + 1
        accept(exchange, lambda socket: ResponsesSocket(self._gateway, exchange, socket, number), self._limits)


class ResponsesSocket:
    """One connection.

    Args:
        handshake: its headers are those of every request here.
        number: tells the connections of a gateway apart.
    """

    def __init__(self, gateway: Gateway, handshake: Exchange, socket: WebSocket, number: int) -> None:
        self.send = socket.send
        self.flush = socket.flush
        self._gateway = gateway
        self._limits = gateway.fleet.limits
        self._path, self._headers = handshake.path, handshake.headers
        self._owner = owner_of(gateway.access.caller(handshake.headers), handshake.headers)
        self._here = b"\0%d" % number  # no credential begins so
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._opened_s = socket.now_s()
        self._lanes: dict[str, _Waiting] = {}  # what each lane answers
        self._waiting: deque[_Waiting] = deque()
        self._kept: dict[str, str] = {}
        self._prepared = 0

    # the connection's side

    @property
    def busy(self) -> bool:
        """Whether a response is in progress or waits."""
        return bool(self._lanes) or bool(self._waiting)

    def on_text(self, message: bytes) -> None:
        """A message came: answer it when its lane is free."""
        exchange = LaneExchange(self, self._path, self._headers, "")
        try:
            fields = top_level(message)
            exchange = LaneExchange(self, self._path, self._headers, stream_id_of(fields))
            waiting = _Waiting(exchange, read_create(fields))
            self._check_room(exchange)
        except HeadraceError as error:
            self._gateway.refuse(exchange, error, "responses")
            return
        if exchange.open and exchange.stream_id in self._lanes:
            self._waiting.append(waiting)
        elif exchange.open:
            self._answer(waiting)

    def on_pause(self) -> None:
        """The client takes messages more slowly than they come: all backends that answer here are held back."""
        for waiting in list(self._lanes.values()):
            if waiting.exchange.on_pause is not None:
                waiting.exchange.on_pause()

    def on_resume(self) -> None:
        """It has caught up."""
        for waiting in list(self._lanes.values()):
            if waiting.exchange.on_resume is not None:
                waiting.exchange.on_resume()

    def on_closed(self) -> None:
        """The client is gone, and with it all that was asked and kept here."""
        lanes, self._lanes = self._lanes, {}
        self._waiting.clear()
        for waiting in lanes.values():
            waiting.exchange.gone()
        for response_id in self._kept.values():
            self._gateway.intake.store.forget(self._here, response_id)
        self._kept.clear()

    # the lanes' side

    def answered(self, lane: LaneExchange) -> None:
        """A lane is free: the next of its requests is answered, once all that this one leads to has been done."""
        waiting = self._lanes.get(lane.stream_id)
        if waiting is None or waiting.exchange is not lane:
            return  # it was refused before it had its lane
        if lane.response:
            self._keep(lane.stream_id, waiting.create, lane.response)
        self._loop.call_soon(self._next, lane.stream_id)

    def _next(self, stream_id: str) -> None:
        if self._lanes.pop(stream_id, None) is None:
            return  # the connection was closed
        following = next((each for each in self._waiting if each.exchange.stream_id == stream_id), None)
        if following is not None:
            self._waiting.remove(following)
            self._answer(following)
        elif not self.busy:
            self._socket.rest()

    def _answer(self, waiting: _Waiting) -> None:
        exchange, create = waiting
        self._lanes[exchange.stream_id] = waiting
        try:
            body = self._whole(create)
            self._lanes[exchange.stream_id] = _Waiting(exchange, create._replace(body=body))
            if not create.generate:
                self._prepare(exchange, body)
                return
        except HeadraceError as error:
            self._gateway.refuse(exchange, error, "responses")
            return
        exchange.body = body
        self._gateway.ask("responses", exchange)

    def _prepare(self, exchange: LaneExchange, body: bytes) -> None:
        """The client only prepares the conversation: it gets an id to go on from, and no model is asked."""
        self._gateway.intake.recognizer.model(decode_head("responses", body).model)
        self._prepared += 1
        answer_id = f"{self._gateway.run_id.decode()}p{self._here[1:].decode()}p{self._prepared}"
        stream = prepared(body, answer_id, int(time.time()))
        exchange.start(200, b"")
        exchange.write(stream)
        exchange.finish()

    # what is kept

    def _whole(self, create: Create) -> bytes:
        """The body with the conversation that it goes on from: one of this connection, or a stored one."""
        if create.goes_on_from is None:
            return create.body
        store = self._gateway.intake.store
        try:
            return store.continued(self._here, create.goes_on_from, create.body)
        except UnknownResponse:
            return store.continued(self._owner, create.goes_on_from, create.body)

    def _keep(self, stream_id: str, create: Create, response: bytes) -> None:
        if create.stored:
            return  # it is kept for longer than this connection
        before = self._kept.pop(stream_id, None)
        if before is not None:
            self._gateway.intake.store.forget(self._here, before)
        kept = self._gateway.intake.store.keep(self._here, create.body, response)
        if kept is not None:
            self._kept[stream_id] = kept

    # limits

    def _check_room(self, exchange: LaneExchange) -> None:
        """Refuse a request for which there is no room. Raises CapacityError: nor will there be before others end."""
        limits, stream_id = self._limits, exchange.stream_id
        if self._socket.draining:
            raise CapacityError("this gateway is shutting down; ask on a new connection")
        if self._socket.now_s() - self._opened_s >= limits.websocket_lifetime_s:
            said = f"this connection is older than {limits.websocket_lifetime_s:.0f} s; open a new one"
            self._refuse(exchange, said, TOO_OLD, None)
            if not self.busy:
                self._socket.close(CloseCode.NORMAL, said)
        elif stream_id not in self._lanes and len(self._lanes) >= limits.websocket_lanes:
            said = f"{limits.websocket_lanes} responses are in progress on this connection; wait until one has ended"
            self._refuse(exchange, said, LANES_TAKEN, "stream_id")
        elif stream_id in self._lanes and len(self._waiting) >= limits.websocket_queue:
            raise QuotaExceeded(f"{limits.websocket_queue} requests wait on this connection; wait for an answer")

    def _refuse(self, exchange: LaneExchange, said: str, code: str, param: str | None) -> None:
        """Refuse with a code of OpenAI's that clients know."""
        self._gateway.telemetry.refuse("websocket")
        exchange.respond(400, JSON, shaped_error("responses", 400, said, "invalid_request_error", code, param))
