"""Endpoints: what the gateway's two ports serve."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import chain
from numbers import Real
from urllib.parse import unquote

import msgspec

from headrace import __version__
from headrace.errors import BodyTooLarge, HeadraceError, RequestError, UnknownEndpoint
from headrace.gateway.catalogue import Catalogue
from headrace.gateway.crew import Crew, Page, Shown
from headrace.gateway.driver import Gateway
from headrace.gateway.families import set_families
from headrace.gateway.front import ClientServer
from headrace.gateway.health import LIVE, readiness
from headrace.gateway.openapi import OpenApiPage
from headrace.gateway.refusals import JSON
from headrace.gateway.reload import Reloader
from headrace.gateway.responses_socket import ResponsesSockets
from headrace.gateway.stored_routes import StoredRoutes
from headrace.http import Exchange, Handler, header_lines, wants_websocket
from headrace.telemetry import render
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
OPEN_PATHS = frozenset((b"/", b"/health", b"/health/live", b"/health/ready"))  # to those who have no key
ESTIMATED = JSON + header_lines((b"x-headrace-approximated", b"input_tokens"))


def refusal(status: int, message: str, target: bytes) -> tuple[bytes, bytes]:
    """What the server refuses before any handler sees it, in the error shape of the API that was meant."""
    row = WIRE_ERRORS[BodyTooLarge if status == 413 else RequestError]
    return JSON, shaped_error(api_of(target), status, message, row.wire_type, row.code)


class Routes:
    """Both ports' endpoints over one gateway.

    Attributes:
        server: set once it listens.
        reloader: takes on other fleets; None: nothing does.
        draining: it is about to stop, and says so before it does.
    """

    def __init__(self, gateway: Gateway, admin_fallback: Handler | None = None, crew: Crew | None = None) -> None:
        """
        Args:
            crew: the workers for which this one answers; None: it is alone.
        """
        self.server: ClientServer | None = None
        self.draining = False
        self.crew = crew or Crew()
        self.reloader: Reloader | None = None
        self._gateway = gateway
        self._admin_fallback = admin_fallback
        self._sockets = ResponsesSockets(gateway)
        self._stored = StoredRoutes(gateway)
        self.use()
        self._public: dict[bytes, tuple[bytes, Callable[[Exchange], None]]] = {
            **{path: (b"POST", partial(gateway.ask, api)) for path, api in ENDPOINTS.items()},
            **{GROQ + path: (b"POST", partial(gateway.ask, api)) for path, api in ENDPOINTS.items()},
            GROQ + b"/v1/models": (b"GET", self._keyed(self._list_models)),
            b"/v1/messages/count_tokens": (b"POST", self._keyed(self._count_tokens)),
            b"/v1/models": (b"GET", self._keyed(self._list_models)),
            b"/": (b"GET", _health),  # coding tools knock here before they ask
            b"/openapi.json": (b"GET", self._keyed(self._openapi)),
            **self._of_both(),
            b"/metrics": (b"GET", self._public_metrics),
        }
        self._admin: dict[bytes, tuple[bytes, Callable[[Exchange], None]]] = {
            b"/admin/state": (b"GET", self._state),
            b"/admin/tenants": (b"GET", self._tenants),
            **self._of_both(),
        }

    def _of_both(self) -> dict[bytes, tuple[bytes, Callable[[Exchange], None]]]:
        """What both ports serve."""
        return {
            b"/health": (b"GET", _health),
            b"/health/live": (b"GET", _health),
            b"/health/ready": (b"GET", self._ready),
            b"/metrics": (b"GET", self._metrics),
        }

    def use(self) -> None:
        """Show the gateway's present fleet."""
        gateway = self._gateway
        fleet, models = gateway.fleet, gateway.recognizer.model_names
        self._catalogue = Catalogue(fleet, gateway.recognizer, gateway.fittings)
        self._limits = {name: float(value) for name, value in asdict(fleet.limits).items() if isinstance(value, Real)}
        self._page = OpenApiPage(
            ENDPOINTS, models=models, classes=fleet.classes, pools=fleet.pools, version=__version__
        )

    def public(self, exchange: Exchange) -> None:
        """Handler of the clients' port."""
        found = self._public.get(exchange.path)
        if found is not None and found[0] == exchange.method:
            found[1](exchange)
        else:
            self._keyed(partial(self._elsewhere, found=found))(exchange)

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

    def _keyed(self, handler: Handler) -> Handler:
        """The handler, for whoever has a key, where one is needed. What asks for an answer looks itself."""
        gateway = self._gateway

        def keyed(exchange: Exchange) -> None:
            try:
                if gateway.access.keys is not None and exchange.path not in OPEN_PATHS:
                    gateway.access.caller(exchange.headers)
            except HeadraceError as error:
                gateway.refuse(exchange, error, api_of(exchange.path))
                return
            handler(exchange)

        return keyed

    def _count_tokens(self, exchange: Exchange) -> None:
        try:
            exchange.respond(200, ESTIMATED, self._gateway.intake.count(exchange))
        except HeadraceError as error:
            self._gateway.refuse(exchange, error, "messages")

    def _list_models(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, self._catalogue.list(self._gateway.access.caller(exchange.headers).models))

    def _one_model(self, exchange: Exchange, name: str) -> None:
        try:
            allowed = self._gateway.access.caller(exchange.headers).models
            exchange.respond(200, JSON, self._catalogue.one(name, allowed))
        except HeadraceError as error:
            self._gateway.refuse(exchange, error)

    def _openapi(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, self._page.body)

    def page(self) -> Page:
        """What this worker has to show."""
        gateway, peers, reloader = self._gateway, self.crew.peers, self.reloader
        return Page(
            pid=os.getpid(),
            counts=gateway.telemetry.counters.snapshot(),
            view=gateway.engine.view(),
            connections=0 if self.server is None else self.server.connections,
            requests_live=gateway.requests_live,
            attempts_live=gateway.attempts_live,
            ledger_fault=gateway.ledger_fault,
            peers_fault="" if peers is None else peers.fault,
            fleet_sha256="" if reloader is None else reloader.file.sha256,
            fleet_faults=() if reloader is None else reloader.faults,
            reloads=0 if reloader is None else reloader.reloads,
            refused_reloads=0 if reloader is None else reloader.refused,
            metrics=tuple(metric for source in gateway.telemetry.sources for metric in source()),
            loop_lag_s=gateway.telemetry.loop_lag_s,
        )

    def shown(self) -> Shown:
        """All workers, this one as it is now; the others see at least as much of it from here on."""
        own = self.page()
        self.crew.show(own)
        return Shown(self.crew, own)

    def _ready(self, exchange: Exchange) -> None:
        gateway, shown = self._gateway, self.shown()
        draining = self.draining or self.server is None or self.server.draining
        status, body = readiness(draining, gateway.ledger_fault, len(shown.pages), shown.view.backends)
        exchange.respond(status, JSON, body)

    def _metrics(self, exchange: Exchange) -> None:
        families = chain(self.shown().families(), set_families(self._limits))
        exchange.respond(200, TEXT, render(families))

    def _public_metrics(self, exchange: Exchange) -> None:
        """Figures of all tenants are for none of them."""
        if self._gateway.access.keys is None:
            self._metrics(exchange)
        else:
            self._gateway.refuse(exchange, UnknownEndpoint("ask the admin port for /metrics"))

    def _tenants(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, msgspec.json.encode({"tenants": self._gateway.access.standings()}))

    def _state(self, exchange: Exchange) -> None:
        gateway, shown = self._gateway, self.shown()
        state = {
            "now_s": gateway.now_s(),
            "engine": shown.view,
            "requests_live": shown.requests_live,
            "attempts_live": shown.attempts_live,
            "tasks": len(asyncio.all_tasks()),
            "client_connections": shown.connections,
            "pools": {name: repr(link.pool) for name, link in gateway.links.items()},
            "requests": {f"{key[0]}/{key[1]}": n for key, n in sorted(shown.counters.requests.items())},
            "attempts": {f"{key[0]}/{key[1]}": n for key, n in sorted(shown.counters.attempts.items())},
            "fleet": shown.fleet_file(),
            "peers": shown.peers_fault or "heard",
            "workers": shown.by_worker(),
        }
        exchange.respond(200, JSON, msgspec.json.encode(state))


def _health(exchange: Exchange) -> None:
    exchange.respond(200, JSON, LIVE)


def api_of(path: bytes) -> ApiName:
    """The API whose shape an error at this path has."""
    return "messages" if path.startswith(b"/v1/messages") else "chat"
