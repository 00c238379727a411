"""Metrics: plain integers where requests pass, text for Prometheus when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from headrace.metrics import Metric
from headrace.policy import EngineView

TTFT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
E2E_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Counts of observations per bucket."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Telemetry:
    """What is counted of requests and attempts.

    Attributes:
        sources: asked for further figures when somebody looks.
    """

    __slots__ = (
        "attempts",
        "cached_input_tokens",
        "e2e",
        "input_tokens",
        "ledger_faults",
        "output_tokens",
        "refused",
        "requests",
        "rescues",
        "sources",
        "ttft",
    )

    def __init__(self, classes: Iterable[str], backends: Iterable[str]) -> None:
        names = tuple(classes)
        backend_names = tuple(backends)
        self.requests: dict[tuple[str, str], int] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.refused: dict[str, int] = {}
        self.rescues: dict[str, int] = {}
        self.ledger_faults = 0
        self.sources: list[Callable[[], Iterable[Metric]]] = []
        self.input_tokens = dict.fromkeys(backend_names, 0)
        self.cached_input_tokens = dict.fromkeys(backend_names, 0)
        self.output_tokens = dict.fromkeys(backend_names, 0)
        self.ttft = {name: Histogram(TTFT_BUCKETS_S) for name in names}
        self.e2e = {name: Histogram(E2E_BUCKETS_S) for name in names}

    def request_ended(self, workload_class: str, outcome: str, e2e_s: float) -> None:
        """Count a request's end."""
        key = (workload_class, outcome)
        self.requests[key] = self.requests.get(key, 0) + 1
        if outcome == "completed":
            self.e2e[workload_class].observe(e2e_s)

    def attempt_ended(self, backend: str, outcome: str) -> None:
        """Count an attempt's end."""
        key = (backend, outcome)
        self.attempts[key] = self.attempts.get(key, 0) + 1

    def rescued(self, outcome: str) -> None:
        """Count what became of an answer that broke off after its client had a part of it.

        Args:
            outcome: `completed` by another backend; `ended`: nothing but its last words was missing; `broken`: no
                backend went on to its end; `impossible`: none could.
        """
        self.rescues[outcome] = self.rescues.get(outcome, 0) + 1

    def used(self, backend: str, input_tokens: int, output_tokens: int, cached_input_tokens: int) -> None:
        """Count tokens as the backend counted them."""
        self.input_tokens[backend] += input_tokens
        self.output_tokens[backend] += output_tokens
        self.cached_input_tokens[backend] += cached_input_tokens

    def refuse(self, label: str) -> None:
        """Count what was refused before it became a request."""
        self.refused[label] = self.refused.get(label, 0) + 1


def render(telemetry: Telemetry, view: EngineView, *, connections: int, limits: Mapping[str, float]) -> bytes:
    """Everything as Prometheus text."""
    lines: list[str] = []
    _counters(lines, telemetry)
    for name, text, histograms in (
        ("headrace_gateway_ttft_seconds", "Arrival to first token, at the gateway.", telemetry.ttft),
        ("headrace_gateway_e2e_seconds", "Arrival to the end of completed requests.", telemetry.e2e),
    ):
        _histograms(lines, name, text, histograms)
    _engine(lines, view)
    _family(lines, "headrace_client_connections", "gauge", "Open client connections.", [((), connections)])
    for metric in (each for source in telemetry.sources for each in source()):
        _family(lines, metric.name, metric.kind, metric.text, [((), metric.value)])
    limit_rows = [((("limit", name),), value) for name, value in limits.items()]
    _family(lines, "headrace_limit", "gauge", "Limits as set, in the unit that the name ends with.", limit_rows)
    return ("\n".join(lines) + "\n").encode()


def _counters(lines: list[str], telemetry: Telemetry) -> None:
    requests = [((("class", key[0]), ("outcome", key[1])), n) for key, n in sorted(telemetry.requests.items())]
    attempts = [((("backend", key[0]), ("outcome", key[1])), n) for key, n in sorted(telemetry.attempts.items())]
    refused = [((("reason", label),), n) for label, n in sorted(telemetry.refused.items())]
    _family(lines, "headrace_requests_total", "counter", "Requests ended.", requests)
    _family(lines, "headrace_attempts_total", "counter", "Attempts ended.", attempts)
    rescues = [((("outcome", outcome),), n) for outcome, n in sorted(telemetry.rescues.items())]
    text = "Answers that broke off after their client had a part: completed, ended, broken or impossible."
    _family(lines, "headrace_rescues_total", "counter", text, rescues)
    _family(lines, "headrace_refused_total", "counter", "Refused before becoming a request.", refused)
    text = "Failed writes, syncs and rotations of the usage ledger; records that are not written wait in memory."
    _family(lines, "headrace_ledger_faults_total", "counter", text, [((), telemetry.ledger_faults)])
    for name, text, counts in (
        ("headrace_input_tokens_total", "Input tokens, as backends counted.", telemetry.input_tokens),
        ("headrace_cached_input_tokens_total", "Of these, found in a cache.", telemetry.cached_input_tokens),
        ("headrace_output_tokens_total", "Output tokens, as backends counted.", telemetry.output_tokens),
    ):
        _family(lines, name, "counter", text, [((("backend", backend),), n) for backend, n in counts.items()])


def _engine(lines: list[str], view: EngineView) -> None:
    for name, text, attribute in (
        ("headrace_in_flight", "Attempts dispatched and not ended.", "in_flight"),
        ("headrace_max_in_flight", "Concurrency limit.", "max_in_flight"),
        ("headrace_ttft_factor", "Observed over predicted TTFT.", "ttft_factor"),
        ("headrace_tpot_factor", "Observed over predicted TPOT.", "tpot_factor"),
        ("headrace_failure_rate", "Failures per attempt, recent.", "failure_rate"),
    ):
        rows = [((("backend", b.name), ("pool", b.pool)), getattr(b, attribute)) for b in view.backends]
        _family(lines, name, "gauge", text, rows)
    breakers = [((("backend", b.name), ("state", b.breaker)), 1) for b in view.backends]
    _family(lines, "headrace_breaker", "gauge", "1 for the breaker's state.", breakers)
    _family(lines, "headrace_requests_live", "gauge", "Requests not ended.", [((), view.requests_live)])
    _family(lines, "headrace_queued", "gauge", "Requests that wait for a backend.", [((), view.queued)])
    for name, text, attribute in (
        ("headrace_share_target", "Target of the share.", "target"),
        ("headrace_share_realized", "The share now.", "realized"),
        ("headrace_share_lambda_usd_per_unit", "Shadow price of the share.", "lambda_usd_per_unit"),
    ):
        shares = [((("share", s.name),), value) for s in view.shares if (value := getattr(s, attribute)) is not None]
        _family(lines, name, "gauge", text, shares)
    for name, text, attribute in (
        ("headrace_priced_limit_bound", "Bound of a priced limit: a fraction, or an amount per period.", "bound"),
        ("headrace_priced_limit_use", "What is used of it.", "use"),
        ("headrace_priced_limit_pace", "Of an amount per period: an even use by now.", "pace"),
        ("headrace_priced_limit_lambda_usd_per_unit", "Its shadow price.", "lambda_usd_per_unit"),
    ):
        held = [((("limit", each.name), ("unit", each.unit)), getattr(each, attribute)) for each in view.limits]
        _family(lines, name, "gauge", text, [(labels, value) for labels, value in held if value is not None])


def _histograms(lines: list[str], name: str, text: str, histograms: Mapping[str, Histogram]) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    for workload_class, histogram in histograms.items():
        seen = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            seen += count
            lines.append(f"{name}_bucket{_labels((('class', workload_class), ('le', bound)))} {seen}")
        labels = _labels((("class", workload_class),))
        lines += [f"{name}_sum{labels} {histogram.total}", f"{name}_count{labels} {seen}"]


def _family(lines: list[str], name: str, kind: str, text: str, rows: Iterable[tuple[Labels, float]]) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {value}" for labels, value in rows]


def _labels(labels: Labels) -> str:
    return "{" + ",".join(_pairs(labels)) + "}" if labels else ""


def _pairs(labels: Labels) -> Iterator[str]:
    for name, value in labels:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        yield f'{name}="{escaped}"'
