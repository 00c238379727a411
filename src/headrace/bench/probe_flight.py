"""One probe request on its way: a `Flight` that also keeps when pieces came, the headers, and what an error said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from time import perf_counter, time

from headrace.bench.flight import Flight
from headrace.bench.probe_file import ProbeRecord
from headrace.bench.probe_plan import Cell, Shot
from headrace.wire import rate_limit_headers, rate_limits
from headrace.workload import Request

MARKS = 33
SHOWN_ERROR_CHARACTERS = 300


class ProbeFlight(Flight):
    """A sink for one response of a probe.

    Attributes:
        marks: (`perf_counter` seconds, tokens that had come by then), one per piece.
        headers: of the response.
    """

    __slots__ = ("_body", "_on_tokens", "at_unix_s", "headers", "marks", "planned_bytes")

    def __init__(
        self,
        request: Request,
        prompt_bytes: int,
        on_ended: Callable[[Flight], None],
        on_tokens: Callable[[int], None],
    ) -> None:
        super().__init__(request, perf_counter(), on_ended)
        self.planned_bytes = prompt_bytes
        self.at_unix_s = time()
        self.marks: list[tuple[float, int]] = []
        self.headers: dict[bytes, bytes] = {}
        self._body = b""
        self._on_tokens = on_tokens

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The response head came."""
        super().on_head(status, headers)
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        """A piece came."""
        if self.status != 200:
            self._body += data[: SHOWN_ERROR_CHARACTERS - len(self._body)]
            return
        before = self.tokens_seen
        super().on_data(data)
        if self.tokens_seen > before and self.last_token_s is not None:
            self.marks.append((self.last_token_s, self.tokens_seen))
            self._on_tokens(self.tokens_seen)

    def end(self, outcome: str, error: str | None) -> None:
        """End the request, once; a rejection says what the server said."""
        said = " ".join(self._body.decode("utf-8", "replace").split())
        super().end(outcome, f"{error}: {said}" if said and error else error)

    def record(self, cell: Cell, attempt: int, index: int, start_s: float) -> ProbeRecord:
        """What is written of it. `start_s`: the first send of its cell."""
        shot, usage = cell.shots[index], self.usage
        limits = rate_limit_headers(self.headers)
        p50, p90, most = _gaps([at_s for at_s, _ in self.marks])
        return ProbeRecord(
            cell=cell.name,
            kind=cell.kind,
            attempt=attempt,
            index=index,
            at=datetime.fromtimestamp(self.at_unix_s, UTC).isoformat(timespec="milliseconds"),
            sent_s=self.sent_s - start_s,
            planned_input_tokens=shot.worst_input_tokens,
            max_tokens=shot.max_tokens,
            prompt_bytes=self.planned_bytes,
            outcome=self.outcome or "failed",
            error=self.error,
            status=self.status,
            ttft_s=self.ttft_s,
            tpot_s=self.tpot_s,
            e2e_s=None if self.ended_s is None else self.ended_s - self.sent_s,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            cached_input_tokens=None if usage is None else usage.cached_input_tokens,
            pieces=len(self.marks),
            marks=_thinned([(at_s - self.sent_s, tokens) for at_s, tokens in self.marks]),
            gap_p50_s=p50,
            gap_p90_s=p90,
            gap_max_s=most,
            rate_limit_headers=limits,
            rate_limits=list(rate_limits(limits, self.at_unix_s)),
            backend=self.backend,
        )


def request_of(shot: Shot) -> Request:
    """The shot as a request of a workload."""
    return Request(0.0, "probe", shot.input_tokens, shot.max_tokens)


def _thinned(marks: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """At most `MARKS` of them, evenly, the first and the last among them."""
    if len(marks) <= MARKS:
        return marks
    last = len(marks) - 1
    return [marks[round(step * last / (MARKS - 1))] for step in range(MARKS)]


def _gaps(times_s: list[float]) -> tuple[float | None, float | None, float | None]:
    """Median, 90 % and largest gap between pieces; None below two pieces."""
    gaps = sorted(after - before for before, after in pairwise(times_s))
    if not gaps:
        return None, None, None
    return gaps[len(gaps) // 2], gaps[min(len(gaps) - 1, len(gaps) * 9 // 10)], gaps[-1]
