"""What becomes of an answer that broke off: whether its client lacks words only, another backend, or has to be told."""

from __future__ import annotations

from typing import NamedTuple

from headrace.gateway.attempt import Attempt
from headrace.gateway.fitting import Fittings
from headrace.gateway.request import GatewayRequest
from headrace.gateway.rescue import Rescue
from headrace.gateway.telemetry import Telemetry
from headrace.wire import Usage


class Found(NamedTuple):
    """What can be done.

    Attributes:
        words: these complete the answer; `usage`: what the backend said of its cost. None: more than words is missing.
        resumable: another backend can go on; `unfit`: those that cannot.
    """

    words: bytes | None = None
    usage: Usage | None = None
    resumable: bool = False
    unfit: tuple[str, ...] = ()


NOTHING = Found()


class Rescuer:
    """Looks at broken answers."""

    def __init__(self, fittings: Fittings, telemetry: Telemetry) -> None:
        self._fittings = fittings
        self._telemetry = telemetry

    def look(self, attempt: Attempt) -> Found:
        """An attempt has failed: what can be done for its client, if it has a part of the answer."""
        rescue, request = attempt.broken(), attempt.request
        if rescue is None:
            return NOTHING
        request.rescue = rescue
        words = rescue.closing_words(request.head.output_ceiling, request.input_tokens)
        if words is not None:
            if attempt.rescue is None:
                self._telemetry.rescued("ended")
            attempt.remember(lambda: words)
            return Found(words, rescue.usage)
        return self._go_on(request, rescue)

    def pause(self, request: GatewayRequest, rescue: Rescue) -> Found:
        """An answer has reached a lowered ceiling: who can go on with it."""
        if rescue.progress.thinks:
            self._fittings.thinks(request.model)
        found = self._go_on(request, rescue)
        if found.resumable:
            request.rescue = rescue
        return found

    def _go_on(self, request: GatewayRequest, rescue: Rescue) -> Found:
        if rescue.obstacle:
            return NOTHING
        unfit = self._fittings.go_on(request, rescue)
        if not rescue.bodies:
            rescue.obstacle = "no backend of its model goes on with a text"
            return NOTHING
        return Found(resumable=True, unfit=unfit)

    def break_off(self, request: GatewayRequest) -> None:
        """End the connection of a client whose answer will not be completed; one that has a part of it is told."""
        attempt = request.attempt
        rescue = (None if attempt is None else attempt.broken()) or request.rescue
        if rescue is not None:
            self._telemetry.rescued("impossible" if rescue.obstacle else "broken")
            rescue.say_broken(request.exchange)
        request.exchange.abort()
