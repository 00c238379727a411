"""The metrics of the GenAI conventions: histograms of attempts and requests, counted here and exported as they stand.

An SDK instrument costs several microseconds a value and several values a request, for every request and not only for
those that are traced. Counting into the same buckets costs a tenth of that, and nothing is lost: the sums are exported
cumulatively, as the SDK would.

Source: OpenTelemetry semantic conventions v1.37.0, docs/gen-ai/gen-ai-metrics.md: names, units, attributes, and the
boundaries that each histogram should have.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.telemetry.conventions import OPERATIONS, PROVIDERS
from headrace.telemetry.exposition import Histogram
from headrace.telemetry.trail import Tokens

DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TTFT_S: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(4**power for power in range(14))  # whole, as what is compared with them
OWN_PROVIDER: Final = "headrace"
OPERATION: Final = "gen_ai.client.operation.duration"
USAGE: Final = "gen_ai.client.token.usage"


class Instrument(NamedTuple):
    """One histogram of the conventions."""

    unit: str
    text: str
    bounds: tuple[float, ...]


INSTRUMENTS: Final[dict[str, Instrument]] = {
    OPERATION: Instrument("s", "GenAI operation duration.", DURATION_S),
    USAGE: Instrument("{token}", "Number of input and output tokens used.", TOKENS),
    "gen_ai.server.request.duration": Instrument(
        "s", "Generative AI server request duration such as time-to-last byte or last output token.", DURATION_S
    ),
    "gen_ai.server.time_to_first_token": Instrument(
        "s", "Time to generate first token for successful responses.", TTFT_S
    ),
    "gen_ai.server.time_per_output_token": Instrument(
        "s", "Time per output token generated after the first token for successful responses.", TPOT_S
    ),
}

Where = tuple[str, str, str, str, int]  # API, model, provider, address, port
Key = tuple[str | int, ...]


class _Usual(NamedTuple):
    """What an attempt that went well is counted in."""

    duration: Histogram
    input_tokens: Histogram
    output_tokens: Histogram


class GenAiMetrics:
    """The histograms of one gateway, by instrument and what they are told apart by.

    Attempts are operations of a client (the gateway) of its backends; requests are those of a server (the gateway) of
    its clients. Nothing of either comes from outside: the number of series is bounded by the fleet file.
    """

    __slots__ = ("_held", "_usual")

    def __init__(self) -> None:
        self._usual: dict[Where, _Usual] = {}
        self._held: dict[str, dict[Key, Histogram]] = {name: {} for name in INSTRUMENTS}

    def attempt(self, where: Where, error: str, duration_s: float, tokens: Tokens | None) -> None:
        """An attempt has ended.

        Args:
            error: empty without one.
            tokens: as its backend counted them; None: it did not say.
        """
        if tokens is not None and not error:
            usual = self._usual.get(where) or self._new_usual(where)
            usual.duration.observe(duration_s)
            usual.input_tokens.observe(tokens[0])
            usual.output_tokens.observe(tokens[1])
            return
        self._of(OPERATION, (*where, error)).observe(duration_s)
        if tokens is not None:
            self._of(USAGE, (*where, "input")).observe(tokens[0])
            self._of(USAGE, (*where, "output")).observe(tokens[1])

    def request(self, api: str, model: str, error: str, duration_s: float) -> None:
        """A request has ended."""
        self._of("gen_ai.server.request.duration", (api, model, error)).observe(duration_s)

    def first_token(self, api: str, model: str, ttft_s: float) -> None:
        """A client has its first token."""
        self._of("gen_ai.server.time_to_first_token", (api, model)).observe(ttft_s)

    def time_per_token(self, api: str, model: str, tpot_s: float) -> None:
        """A stream has ended."""
        self._of("gen_ai.server.time_per_output_token", (api, model)).observe(tpot_s)

    def collected(self) -> dict[str, list[tuple[dict[str, str | int], Histogram]]]:
        """Of each instrument its histograms with their attributes; may be called from another thread."""
        return {
            name: [(_attributes(name, key), histogram) for key, histogram in tuple(held.items())]
            for name, held in self._held.items()
        }

    def settle(self) -> None:
        """Count what was observed."""
        for held in self._held.values():
            for histogram in held.values():
                histogram.settle()

    def _new_usual(self, where: Where) -> _Usual:
        found = _Usual(
            self._of(OPERATION, (*where, "")),
            self._of(USAGE, (*where, "input")),
            self._of(USAGE, (*where, "output")),
        )
        self._usual[where] = found
        return found

    def _of(self, instrument: str, key: Key) -> Histogram:
        held = self._held[instrument]
        found = held.get(key)
        if found is None:
            found = held[key] = Histogram(INSTRUMENTS[instrument].bounds)
        return found


def _attributes(instrument: str, key: Key) -> dict[str, str | int]:
    found: dict[str, str | int] = {"gen_ai.operation.name": OPERATIONS[str(key[0])], "gen_ai.request.model": key[1]}
    if instrument.startswith("gen_ai.client."):
        found |= {"gen_ai.provider.name": PROVIDERS.get(str(key[2]), key[2])}
        found |= {"server.address": key[3], "server.port": key[4]}
        name = "gen_ai.token.type" if instrument.endswith("usage") else "error.type"
        return found | {name: key[5]} if key[5] else found
    found["gen_ai.provider.name"] = OWN_PROVIDER
    return found | {"error.type": key[2]} if key[2:] and key[2] else found
