"""HTTP/1.1 over asyncio protocols: the server, the client with its pools, and the pump between them."""

from headrace.http.client import ClientExchange, FailedKind, ResponseSink
from headrace.http.exchange import Exchange, header_lines, header_value
from headrace.http.frames import CloseCode
from headrace.http.limits import HttpLimits
from headrace.http.pool import ConnectionPool, PoolLimits
from headrace.http.pump import FramingError, unframe
from headrace.http.rounds import ROUND_S, Rounds
from headrace.http.server import Handler, Refusal, Server, serve
from headrace.http.websocket import (
    SocketHandler,
    SocketLimits,
    WebSocket,
    accept,
    handshake_fault,
    wants_websocket,
)

__all__ = [
    "ROUND_S",
    "ClientExchange",
    "CloseCode",
    "ConnectionPool",
    "Exchange",
    "FailedKind",
    "FramingError",
    "Handler",
    "HttpLimits",
    "PoolLimits",
    "Refusal",
    "ResponseSink",
    "Rounds",
    "Server",
    "SocketHandler",
    "SocketLimits",
    "WebSocket",
    "accept",
    "handshake_fault",
    "header_lines",
    "header_value",
    "serve",
    "unframe",
    "wants_websocket",
]
