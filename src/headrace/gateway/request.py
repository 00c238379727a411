"""One request as the gateway holds it."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from headrace.errors import InvariantError
from headrace.fleet.tenants import DEFAULT_TENANT
from headrace.gateway.controls import Controls
from headrace.http import Exchange
from headrace.telemetry import Trail
from headrace.wire import ApiName, Head
from headrace.wire.canonical import Request

if TYPE_CHECKING:
    from headrace.gateway.access import Caller, Grant
    from headrace.gateway.attempt import Attempt
    from headrace.gateway.fitting import Prepared
    from headrace.gateway.rescue import Rescue


class GatewayRequest(msgspec.Struct, eq=False):
    """A client's request, from its arrival to its end.

    Attributes:
        api: the API that the client speaks; `head`: what it said of the request there.
        body: as it goes to a backend of the same API; `body_bytes`: as it came.
        asked_usage: headrace asked for the usage chunk and the client did not, so it is withheld.
        client_gone: the client closed its connection before the answer was complete.
        prepared: what goes to backends of a dialect that needs another body, or another API, by their `fit_key`.
        refusal: status and body for the client, if no backend can give what it asks for.
        remember: keeps the answer for requests that go on from it, given what yields its bytes; None: it is not kept.
        controls: what the client asks of headrace itself; None: nothing. `explained`: the header lines that answer it.
        fallbacks: models that may still be asked, if no backend of its own can answer.
        read: the request in neutral form, once something has asked for it.
        tenant: whose it is; `caller`: who asks, with what is allowed; `grant`: what was taken of its limits.
        rescue: its answer has broken off after the client had a part of it.
        held_back: the client takes the answer more slowly than it comes.
        first_token_s: when the client had its first token, on the engine's clock; None: it has none.
        trail: what is kept of it for the access log and its trace; None: nothing is.
    """

    request_id: int
    exchange: Exchange
    api: ApiName
    head: Head
    model: str
    workload_class: str
    body: bytes
    body_bytes: int
    asked_usage: bool
    input_tokens: int
    max_output_tokens: int | None
    arrived_s: float
    attempt: Attempt | None = None
    client_gone: bool = False
    prepared: dict[str, Prepared] = {}
    refusal: tuple[int, bytes] | None = None
    remember: Callable[[Callable[[], bytes]], None] | None = None
    read: Request | None = None
    controls: Controls | None = None
    explained: bytes = b""
    fallbacks: tuple[str, ...] = ()
    deadline: TimerHandle | None = None
    rescue: Rescue | None = None
    held_back: bool = False
    tenant: str = DEFAULT_TENANT
    caller: Caller | None = None
    grant: Grant | None = None
    first_token_s: float | None = None
    trail: Trail | None = None

    def held_bytes(self) -> int:
        """What its bodies hold in memory."""
        held = len(self.body)
        return held + sum(len(each.body) for each in self.prepared.values()) if self.prepared else held

    def neutral(self) -> Request:
        """The request in neutral form: whoever prepared it for another API has read it."""
        if self.read is None:
            raise InvariantError(f"request {self.request_id} is translated and was never read")
        return self.read
