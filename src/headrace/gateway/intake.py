"""Intake: a client's bytes become a request that the engine can be told of.

Only the head is decoded. The body is edited where routing says so (another model's name, the usage chunk of a stream,
headrace's own field), each edit as bytes; a body that needs none goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.fleet import Fleet
from headrace.gateway.access import Access, Caller, owner_of
from headrace.gateway.body_guard import BodyGuard
from headrace.gateway.controls import read_controls
from headrace.gateway.recognition import Recognizer
from headrace.gateway.request import GatewayRequest
from headrace.gateway.shelves import Shelf
from headrace.gateway.stored import ResponseStore
from headrace.http import Exchange
from headrace.policy.input_estimator import InputEstimator
from headrace.wire import ApiName, Head, Usage, with_include_usage, with_model, without_controls
from headrace.wire.apis.messages import read_count_request, write_count
from headrace.wire.body import NULL
from headrace.wire.head import ResponsesHead


class Intake:
    """Reads requests of one gateway.

    Attributes:
        store: answers of the Responses API that clients may go on from.
    """

    def __init__(self, fleet: Fleet, recognizer: Recognizer, access: Access, shelf: Shelf | None = None) -> None:
        limits = fleet.limits
        self.store = ResponseStore(limits.stored_responses, limits.stored_response_bytes, shelf)
        self._estimators: dict[str, InputEstimator] = {}
        self._access = access
        self._next_request_id = 1
        self.use(fleet, recognizer)

    def use(self, fleet: Fleet, recognizer: Recognizer) -> None:
        """From now on requests are of this fleet; what was learnt of a class is kept."""
        self.recognizer = recognizer
        self._fallbacks = fleet.fallbacks
        self._guard = BodyGuard(fleet.limits)
        for name in fleet.classes:
            self._estimators.setdefault(name, InputEstimator())

    def read(self, api: ApiName, exchange: Exchange, now_s: float) -> GatewayRequest:
        """The request of this exchange, whose body is taken over.

        Raises:
            RequestError: it is no request of this API, or asks for what there is not, or not for who asks.
        """
        caller = self._access.caller(exchange.headers)
        head = self._guard.read(api, exchange.body)
        model = self.recognizer.model(head.model)
        controls = read_controls(exchange.headers, head.headrace)
        named = None if controls is None else controls.workload_class
        workload_class = self.recognizer.workload_class(exchange.headers, exchange.path, head.model, named)
        if caller.confined:
            self._access.permit(caller, model, workload_class)
        body, body_bytes = self._routed(head, model, caller, exchange)
        exchange.body = b""  # `body` is all that is needed from here on
        request_id = self._next_request_id
        self._next_request_id = request_id + 1
        request = GatewayRequest(
            request_id,
            exchange,
            api,
            head,
            model,
            workload_class,
            body,
            body_bytes,
            bool(head.stream) and not head.include_usage,
            self._estimators[workload_class].estimate(body_bytes),
            head.output_ceiling,
            now_s,
            controls=controls,
            tenant=caller.tenant,
            caller=caller,
        )
        if model in self._fallbacks:
            request.fallbacks = caller.allowed(self._fallbacks[model])
        if type(head) is ResponsesHead and head.store is not False:  # unless the client says no
            request.remember = self._remember(owner_of(caller, exchange.headers), body)
        return request

    def _routed(self, head: Head, model: str, caller: Caller, exchange: Exchange) -> tuple[bytes, int]:
        """The body as it goes to a backend of the same API, and its bytes as far as they are the client's."""
        body = exchange.body
        body_bytes = len(body)
        if head.headrace is not NULL:
            body = without_controls(body)
        if type(head) is ResponsesHead and head.previous_response_id is not None:
            body = self.store.continued(owner_of(caller, exchange.headers), head.previous_response_id, body)
            body_bytes = len(body)
        if head.model != model:
            body = with_model(body, model)
        if head.stream and not head.include_usage:
            body = with_include_usage(body, head)
        return body, body_bytes

    def again(self, request: GatewayRequest) -> GatewayRequest:
        """The same request for the first of its fallback models, as a request of its own."""
        model, request_id = request.fallbacks[0], self._next_request_id
        self._next_request_id = request_id + 1
        read = None if request.read is None else msgspec.structs.replace(request.read, model=model)
        return msgspec.structs.replace(
            request,
            request_id=request_id,
            model=model,
            body=with_model(request.body, model),
            fallbacks=request.fallbacks[1:],
            prepared={},
            refusal=None,
            attempt=None,
            read=read,
        )

    def count(self, exchange: Exchange) -> bytes:
        """The answer to a question how many input tokens a request would be: an estimate.

        Raises:
            RequestError: it is no request of the Messages API, or asks for a model that there is not.
        """
        request = read_count_request(exchange.body)
        self.recognizer.model(request.model)
        workload_class = self.recognizer.workload_class(exchange.headers, exchange.path, request.model)
        return write_count(self._estimators[workload_class].estimate(len(exchange.body)))

    def learn(self, request: GatewayRequest, usage: Usage) -> None:
        """A backend said how many tokens a request had."""
        self._estimators[request.workload_class].observe(request.body_bytes, usage.input_tokens)

    def _remember(self, owner: bytes, body: bytes) -> Callable[[Callable[[], bytes]], None]:
        def remember(answer: Callable[[], bytes]) -> None:
            self.store.keep(owner, body, answer())

        return remember
