"""Endpoints: what the gateway's two ports serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from urllib.parse import unquote

import msgspec

from headrace import __version__
from headrace.errors import BodyTooLarge, HeadraceError, RequestError, UnknownEndpoint
from headrace.gateway.catalogue import Catalogue
from headrace.gateway.driver import JSON, Gateway
from headrace.gateway.openapi import OpenApiPage
from headrace.gateway.responses_socket import ResponsesSockets
from headrace.gateway.stored_routes import StoredRoutes
from headrace.gateway.telemetry import render
from headrace.http import Exchange, Handler, Server, header_lines, wants_websocket
from headrace.wire import WIRE_ERRORS, ApiName, shaped_error

TEXT = header_lines((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"))
ENDPOINTS: dict[bytes, ApiName] = {
    b"/v1/chat/completions": "chat",
    b"/v1/completions": "completions",
    b"/v1/responses": "responses",
    b"/v1/messages": "messages",
    b"/v1/embeddings": "embeddings",
}
RESPONSES = b"/v1/responses"
GROQ = b"/openai"  # Groq's SDK puts it before every path, whatever its base URL
MODELS = b"/v1/models/"
ESTIMATED = JSON + header_lines((b"x-headrace-approximated", b"input_tokens"))
_HEALTHY = b'{"status":"ok"}'


def refusal(status: int, message: str, target: bytes) -> tuple[bytes, bytes]:
    """What the server refuses before any handler sees it, in the error shape of the API that was meant."""
    row = WIRE_ERRORS[BodyTooLarge if status == 413 else RequestError]
    return JSON, shaped_error(api_of(target), status, message, row.wire_type, row.code)


class Routes:
    """Both ports' endpoints over one gateway. `server` is set once it listens."""

    def __init__(self, gateway: Gateway, admin_fallback: Handler | None = None) -> None:
        self.server: Server | None = None
        self._gateway = gateway
        self._catalogue = Catalogue(gateway.fleet, gateway.recognizer, gateway.fittings)
        self._limits = {name: float(value) for name, value in asdict(gateway.fleet.limits).items()}
        self._admin_fallback = admin_fallback
        self._sockets = ResponsesSockets(gateway)
        self._stored = StoredRoutes(gateway)
        fleet, models = gateway.fleet, gateway.recognizer.model_names
        self._page = OpenApiPage(
            ENDPOINTS, models=models, classes=fleet.classes, pools=fleet.pools, version=__version__
        )
        self._public: dict[bytes, tuple[bytes, Callable[[Exchange], None]]] = {
            **{path: (b"POST", partial(gateway.ask, api)) for path, api in ENDPOINTS.items()},
            **{GROQ + path: (b"POST", partial(gateway.ask, api)) for path, api in ENDPOINTS.items()},
            GROQ + b"/v1/models": (b"GET", self._list_models),
            b"/v1/messages/count_tokens": (b"POST", self._count_tokens),
            b"/v1/models": (b"GET", self._list_models),
            b"/": (b"GET", _health),  # coding tools knock here before they ask
            b"/health": (b"GET", _health),
            b"/metrics": (b"GET", self._metrics),
            b"/openapi.json": (b"GET", self._openapi),
        }
        self._admin: dict[bytes, tuple[bytes, Callable[[Exchange], None]]] = {
            b"/admin/state": (b"GET", self._state),
            b"/health": (b"GET", _health),
            b"/metrics": (b"GET", self._metrics),
        }

    def public(self, exchange: Exchange) -> None:
        """Handler of the clients' port."""
        found = self._public.get(exchange.path)
        if found is not None and found[0] == exchange.method:
            found[1](exchange)
        else:
            self._elsewhere(exchange, found)

    def admin(self, exchange: Exchange) -> None:
        """Handler of the admin port; what it does not know goes to the fallback."""
        found = self._admin.get(exchange.path)
        if found is not None and found[0] == exchange.method:
            found[1](exchange)
        elif found is None and self._admin_fallback is not None:
            self._admin_fallback(exchange)
        else:
            self._elsewhere(exchange, found)

    def _elsewhere(self, exchange: Exchange, found: tuple[bytes, Callable[[Exchange], None]] | None) -> None:
        """HEAD is GET without the body; else the path or the method is wrong."""
        path, api = exchange.path.decode("latin-1"), api_of(exchange.path)
        if found is None and exchange.path.startswith(MODELS) and exchange.method in (b"GET", b"HEAD"):
            self._one_model(exchange, unquote(path[len(MODELS) :]))
        elif found is None and exchange.path.startswith(RESPONSES + b"/"):
            self._stored.handle(exchange, unquote(path[len(RESPONSES) + 1 :]))
        elif found is None:
            self._gateway.refuse(exchange, UnknownEndpoint(f"there is no endpoint {path!r}"), api)
        elif exchange.method == b"HEAD" and found[0] == b"GET":
            found[1](exchange)
        elif exchange.path == RESPONSES and wants_websocket(exchange):
            self._sockets.open(exchange)
        else:
            allowed = found[0].decode()
            self._gateway.telemetry.refuse("wrong_method")
            said = f"{path} takes {allowed}"
            body = shaped_error(api, 405, said, "invalid_request_error", "method_not_allowed")
            exchange.respond(405, JSON + b"allow: %b\r\n" % found[0], body)

    def _count_tokens(self, exchange: Exchange) -> None:
        try:
            exchange.respond(200, ESTIMATED, self._gateway.intake.count(exchange))
        except HeadraceError as error:
            self._gateway.refuse(exchange, error, "messages")

    def _list_models(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, self._catalogue.all)

    def _one_model(self, exchange: Exchange, name: str) -> None:
        try:
            exchange.respond(200, JSON, self._catalogue.one(name))
        except HeadraceError as error:
            self._gateway.refuse(exchange, error)

    def _openapi(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, self._page.body)

    def _metrics(self, exchange: Exchange) -> None:
        gateway = self._gateway
        connections = 0 if self.server is None else self.server.connections
        text = render(gateway.telemetry, gateway.engine.view(), connections=connections, limits=self._limits)
        exchange.respond(200, TEXT, text)

    def _state(self, exchange: Exchange) -> None:
        gateway = self._gateway
        state = {
            "now_s": gateway.now_s(),
            "engine": gateway.engine.view(),
            "requests_live": gateway.requests_live,
            "attempts_live": gateway.attempts_live,
            "client_connections": 0 if self.server is None else self.server.connections,
            "pools": {name: repr(link.pool) for name, link in gateway.links.items()},
            "requests": {f"{key[0]}/{key[1]}": n for key, n in sorted(gateway.telemetry.requests.items())},
            "attempts": {f"{key[0]}/{key[1]}": n for key, n in sorted(gateway.telemetry.attempts.items())},
        }
        exchange.respond(200, JSON, msgspec.json.encode(state))


def _health(exchange: Exchange) -> None:
    exchange.respond(200, JSON, _HEALTHY)


def api_of(path: bytes) -> ApiName:
    """The API whose shape an error at this path has."""
    return "messages" if path.startswith(b"/v1/messages") else "chat"
