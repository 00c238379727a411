"""`/v1/responses/ID`: stored answers, to be read again or to be forgotten, by whoever asked for them.

What is stored, for how long and for whom is `stored`'s affair; here is what a client may do with an id.
Source: OpenAI's API description, `getResponse`, `deleteResponse` and `listInputItems`.
"""

from __future__ import annotations

import msgspec

from headrace.gateway.access import owner_of
from headrace.gateway.driver import Gateway
from headrace.gateway.refusals import JSON
from headrace.http import Exchange
from headrace.wire import shaped_error

INPUT_ITEMS = "/input_items"


class StoredRoutes:
    """What can be asked of stored answers of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def handle(self, exchange: Exchange, place: str) -> None:
        """Answer a request about `ID` or `ID/input_items`."""
        response_id = place.removesuffix(INPUT_ITEMS)
        listed = place.endswith(INPUT_ITEMS)
        if exchange.method not in ((b"GET", b"HEAD") if listed else (b"GET", b"HEAD", b"DELETE")):
            self._refuse(exchange, 405, f"/v1/responses/{place} takes GET{'' if listed else ' and DELETE'}")
            return
        store, headers = self._gateway.intake.store, exchange.headers
        owner = owner_of(self._gateway.access.caller(headers), headers)
        body = store.input_list(owner, response_id) if listed else store.response(owner, response_id)
        if body is None:
            said = f"response {response_id!r} is not stored here, or not any more; ask anew, and keep what is answered"
            self._refuse(exchange, 404, said)
        elif exchange.method == b"DELETE":
            store.forget(owner, response_id)
            gone = {"id": response_id, "object": "response", "deleted": True}
            exchange.respond(200, JSON, msgspec.json.encode(gone))
        else:
            exchange.respond(200, JSON, body)

    def _refuse(self, exchange: Exchange, status: int, said: str) -> None:
        self._gateway.telemetry.refuse("unknown_response" if status == 404 else "wrong_method")
        exchange.respond(status, JSON, shaped_error("responses", status, said, "invalid_request_error", None))
