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

DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TTFT_S: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(float(4**power) for power in range(14))
OWN_PROVIDER: Final = "headrace"


class Instrument(NamedTuple):
    """One histogram of the conventions."""

    unit: str
    text: str
    bounds: tuple[float, ...]


INSTRUMENTS: Final[dict[str, Instrument]] = {
    "gen_ai.client.operation.duration": Instrument("s", "GenAI operation duration.", DURATION_S),
    "gen_ai.client.token.usage": Instrument("{token}", "Number of input and output tokens used.", TOKENS),
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

Key = tuple[str, ...]


class GenAiMetrics:
    """The histograms of one gateway, by instrument and what they are told apart by.

    Attempts are operations of a client (the gateway) of its backends; requests are those of a server (the gateway) of
    its clients. Nothing of either comes from outside: the number of series is bounded by the fleet file.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, dict[Key, Histogram]] = {name: {} for name in INSTRUMENTS}

    def attempt(
        self, api: str, model: str, provider: str, address: str, port: int, error: str, duration_s: float
    ) -> None:
        """An attempt has ended; `error`: empty without one."""
        key = api, model, provider, address, str(port), error
        self._of("gen_ai.client.operation.duration", key).observe(duration_s)

    def tokens(self, api: str, model: str, provider: str, address: str, port: int, kind: str, tokens: int) -> None:
        """A backend has said what it used; `kind`: `input` or `output`."""
        key = api, model, provider, address, str(port), kind
        self._of("gen_ai.client.token.usage", key).observe(tokens)

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

    def _of(self, instrument: str, key: Key) -> Histogram:
        held = self._held[instrument]
        found = held.get(key)
        if found is None:
            found = held[key] = Histogram(INSTRUMENTS[instrument].bounds)
        return found


def _attributes(instrument: str, key: Key) -> dict[str, str | int]:
    found: dict[str, str | int] = {"gen_ai.operation.name": OPERATIONS[key[0]], "gen_ai.request.model": key[1]}
    if instrument.startswith("gen_ai.client."):
        found |= {"gen_ai.provider.name": PROVIDERS.get(key[2], key[2])}
        found |= {"server.address": key[3], "server.port": int(key[4])}
        name = "gen_ai.token.type" if instrument.endswith("usage") else "error.type"
        return found | {name: key[5]} if key[5] else found
    found["gen_ai.provider.name"] = OWN_PROVIDER
    return found | {"error.type": key[2]} if key[2:] and key[2] else found
